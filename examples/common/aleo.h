/*
 * aleo.h - reads the Aleo bytes inside of events: names, addresses, u64 values, block heads.
 *
 * Layouts are those of snarkVM's ToBytes::to_bytes_le; each function names the file. Every
 * function checks all lengths, reads nothing past `len`, and allocates nothing.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef SLIPSTREAM_EXAMPLES_ALEO_H
#define SLIPSTREAM_EXAMPLES_ALEO_H

#include <slipstream.h>
#include <stdbool.h>
#include <string.h>

#define ALEO_IDENTIFIER_MAX 31
#define ALEO_NAME_TEXT 64    /* buffer for a name: 31 + "." + 31 + NUL */
#define ALEO_BECH32_TEXT 64  /* buffer for 32 bytes as bech32m: at most 4 + 1 + 52 + 6 + NUL */
#define ALEO_BLOCK_HEAD 345  /* the fixed part in front of every block */

static inline bool aleo_is_letter(uint8_t c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

/* Length of the identifier that starts at `data`, its length byte included; 0 if none does.
 * u8 n, then n characters: a letter, then letters, digits, "_"; n is 1 to 31.
 * console/program/src/data/identifier/bytes.rs */
static inline size_t aleo_identifier(const uint8_t *data, size_t len) {
    size_t n = len > 0 ? data[0] : 0;
    if (n == 0 || n > ALEO_IDENTIFIER_MAX || n >= len || !aleo_is_letter(data[1]))
        return 0;
    for (size_t i = 2; i <= n; i++)
        if (!aleo_is_letter(data[i]) && !(data[i] >= '0' && data[i] <= '9') && data[i] != '_')
            return 0;
    return n + 1;
}

/* Identifiers joined by "." as NUL-terminated text: two for a program id ("credits.aleo"), one
 * for a mapping's name. False if the bytes are something else.
 * console/program/src/id/bytes.rs */
static inline bool aleo_name_text(slipstream_bytes name, int identifiers,
                                  char text[ALEO_NAME_TEXT]) {
    size_t at = 0;
    size_t used = 0;
    for (int i = 0; i < identifiers; i++) {
        size_t n = aleo_identifier(name.data + at, name.len - at);
        if (n == 0)
            return false;
        if (i > 0)
            text[used++] = '.';
        memcpy(text + used, name.data + at + 1, n - 1);
        used += n - 1;
        at += n;
    }
    text[used] = '\0';
    return at == name.len;
}

static inline uint32_t aleo_bech32_step(uint32_t sum, uint32_t value) {
    static const uint32_t generator[5] = {0x3b6a57b2, 0x26508e6d, 0x1ea119fa, 0x3d4233dd,
                                          0x2a1462b3};
    uint32_t top = sum >> 25;
    sum = (sum & 0x1ffffff) << 5 ^ value;
    for (int i = 0; i < 5; i++)
        if (top >> i & 1)
            sum ^= generator[i];
    return sum;
}

/* 32 bytes as bech32m (BIP-350): `prefix` is "aleo" for an address, "ab" for a block's hash.
 * console/types/address/src/parse.rs */
static inline void aleo_bech32m(const char *prefix, const uint8_t data[32],
                                char text[ALEO_BECH32_TEXT]) {
    static const char alphabet[] = "qpzry9x8gf2tvdw0s3jn54khce6mua7l";
    size_t used = strlen(prefix);
    uint32_t sum = 1;
    memcpy(text, prefix, used);
    for (size_t i = 0; i < used; i++)
        sum = aleo_bech32_step(sum, (uint32_t)prefix[i] >> 5);
    sum = aleo_bech32_step(sum, 0);
    for (size_t i = 0; i < used; i++)
        sum = aleo_bech32_step(sum, (uint32_t)prefix[i] & 31);
    text[used++] = '1';
    for (size_t bit = 0; bit < 256; bit += 5) { /* most significant first, zeros behind the end */
        size_t at = bit / 8;
        uint32_t pair = (uint32_t)data[at] << 8 | (at + 1 < 32 ? data[at + 1] : 0);
        uint32_t group = pair >> (11 - bit % 8) & 31;
        text[used++] = alphabet[group];
        sum = aleo_bech32_step(sum, group);
    }
    for (int i = 0; i < 6; i++)
        sum = aleo_bech32_step(sum, 0);
    sum ^= 0x2bc830a3;
    for (int i = 5; i >= 0; i--)
        text[used++] = alphabet[sum >> (5 * i) & 31];
    text[used] = '\0';
}

/* The 32 bytes of an address inside of a mapping's key (a Plaintext), or NULL.
 * u8 0 plaintext is a literal, u16 0 literal is an address.
 * console/program/src/data/{plaintext,literal}/bytes.rs */
static inline const uint8_t *aleo_key_address(slipstream_bytes key) {
    return key.len == 35 && key.data[0] == 0 && slipstream_load_u16(key.data + 1) == 0
               ? key.data + 3
               : NULL;
}

/* A Plaintext that is a u64 literal: u8 0 literal, u16 12 u64, then the number. */
static inline bool aleo_plaintext_u64(const uint8_t *data, size_t len, uint64_t *out) {
    if (len != 11 || data[0] != 0 || slipstream_load_u16(data + 1) != 12)
        return false;
    *out = slipstream_load_u64(data + 3);
    return true;
}

/* The microcredits in a mapping's value: the value itself if it is a u64, or the u64 member
 * `microcredits` if it is a struct; false otherwise.
 * u8 0 value is a plaintext; u8 1 plaintext is a struct: u8 count, then an identifier and a
 * Plaintext behind its u16 length each. console/program/src/data/{value,plaintext}/bytes.rs */
static inline bool aleo_value_microcredits(slipstream_bytes value, uint64_t *out) {
    static const char member[] = "\x0cmicrocredits";
    bool found = false;
    size_t at = 2;
    if (value.len < 3 || value.data[0] != 0)
        return false;
    const uint8_t *data = value.data + 1;
    size_t len = value.len - 1;
    if (data[0] != 1)
        return aleo_plaintext_u64(data, len, out);
    for (int left = data[1]; left > 0; left--) {
        const uint8_t *name = data + at;
        size_t n = aleo_identifier(name, len - at);
        if (n == 0 || len - at - n < 2)
            return false;
        size_t inner = slipstream_load_u16(name + n);
        at += n + 2;
        if (inner > len - at)
            return false;
        if (n == sizeof member - 1 && memcmp(name, member, n) == 0)
            found = aleo_plaintext_u64(data + at, inner, out);
        at += inner;
    }
    return found && at == len;
}

typedef struct aleo_block {
    const uint8_t *hash;     /* 32 bytes */
    const uint8_t *previous; /* 32 bytes */
    uint64_t round;
    uint32_t height;
    int64_t timestamp; /* seconds since 1970 UTC */
} aleo_block;

/* The head of a block, whose three versions have to be 1. ledger/block/src/bytes.rs */
static inline bool aleo_read_block(slipstream_bytes block, aleo_block *out) {
    const uint8_t *data = block.data;
    if (block.len < ALEO_BLOCK_HEAD || data[0] != 1 || data[65] != 1 || data[258] != 1)
        return false;
    out->hash = data + 1;
    out->previous = data + 33;
    out->round = slipstream_load_u64(data + 261);
    out->height = slipstream_load_u32(data + 269);
    out->timestamp = (int64_t)slipstream_load_u64(data + 337);
    return true;
}

#endif
