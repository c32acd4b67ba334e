/* The index of a config, as a worker gets it from its host: opened, and asked for everything. */
#include "fuzz.h"
#include "plugin/host.h"

static ss_host host;
static const slipstream_config_v1 *const config = &ss_host_config_table;
static unsigned long opened, found;

static void ask(const char *pointer) {
    uint32_t type;
    size_t count;
    uint32_t flag;
    int64_t i;
    uint64_t u;
    double f;
    char buffer[64];
    const int32_t status = config->type_at(&host, pointer, &type, &count);
    REQUIRE(status == SLIPSTREAM_OK || status == SLIPSTREAM_NOT_FOUND ||
            status == SLIPSTREAM_INVALID_ARGUMENT);
    if (status != SLIPSTREAM_OK)
        return;
    found++;
    REQUIRE(type <= SLIPSTREAM_JSON_OBJECT);
    for (size_t room = 0; room <= sizeof buffer; room += sizeof buffer) {
        size_t len = room;
        const int32_t got = config->get_text(&host, pointer, buffer, &len);
        REQUIRE((got == SLIPSTREAM_WRONG_TYPE) == (type != SLIPSTREAM_JSON_TEXT));
        REQUIRE(got == SLIPSTREAM_WRONG_TYPE || len == count);
        len = room;
        config->get_json(&host, pointer, buffer, &len);
        for (size_t at = 0; at < 3; at++) {
            len = room;
            config->key_at(&host, pointer, at, buffer, &len);
        }
    }
    config->get_bool(&host, pointer, &flag);
    config->get_i64(&host, pointer, &i);
    config->get_u64(&host, pointer, &u);
    config->get_f64(&host, pointer, &f);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static const char *const pointers[] = {"", "/text", "/number", "/list", "/list/0", "/list/1",
                                           "/", "/list/2", "/text/0", "x", "/~2", "/~", "/a~1b/c"};
    char *exact = malloc(size == 0 ? 1 : size);
    REQUIRE(exact != NULL);
    if (size > 0)
        memcpy(exact, data, size);
    atomic_store(&host.life, SS_LOADING);
    if (ss_host_config_open(&host.config, exact, size)) {
        opened++;
        REQUIRE(strlen(host.config.json) <= host.config.json_len); /* some plugins rely on it */
        for (size_t k = 0; k < sizeof pointers / sizeof pointers[0]; k++)
            ask(pointers[k]);
        ss_host_config_close(&host.config);
        for (size_t k = 0; k < size; k++)
            REQUIRE(exact[k] == 0); /* nobody finds a secret there */
    }
    free(exact);
    return 0;
}

void fuzz_tell(void) {
    printf("%lu opened, %lu values found\n", opened, found);
}
