/* Exports what examples/common/aleo.h has, for test_examples_aleo.py. */
#include "aleo.h"

int shim_name(const uint8_t *data, size_t len, int identifiers, char *text) {
    slipstream_bytes name = {data, len};
    return aleo_name_text(name, identifiers, text);
}

void shim_bech32m(const char *prefix, const uint8_t *data, char *text) {
    aleo_bech32m(prefix, data, text);
}

int shim_key_address(const uint8_t *data, size_t len, char *text) {
    slipstream_bytes key = {data, len};
    const uint8_t *address = aleo_key_address(key);
    if (address == NULL)
        return 0;
    aleo_bech32m("aleo", address, text);
    return 1;
}

int shim_microcredits(const uint8_t *data, size_t len, uint64_t *out) {
    slipstream_bytes value = {data, len};
    return aleo_value_microcredits(value, out);
}

int shim_block(const uint8_t *data, size_t len, uint64_t *height, char *hash) {
    slipstream_bytes bytes = {data, len};
    aleo_block block;
    if (!aleo_read_block(bytes, &block))
        return 0;
    *height = block.height;
    aleo_bech32m("ab", block.hash, hash);
    return 1;
}
