/* packed: configs for plugins, packed as slipstream/config/_packed.py does it: a flat object. */
#ifndef PACKED_H
#define PACKED_H

#include "check.h"
#include "plugin/host_config.h"

#include <string.h>

enum { PACKED_ENTRIES = 16, PACKED_TEXTS = 4096 };

typedef struct packed {
    ss_packed_entry entries[PACKED_ENTRIES];
    uint32_t count;
    uint32_t texts_len;
    char texts[PACKED_TEXTS];
} packed;

static inline ss_span packed_text(packed *p, const char *text) {
    const ss_span span = {p->texts_len, (uint32_t)strlen(text)};
    REQUIRE(span.at + span.len <= PACKED_TEXTS);
    memcpy(p->texts + span.at, text, span.len);
    p->texts_len += span.len;
    return span;
}

static inline void packed_new(packed *p) {
    memset(p, 0, sizeof *p);
    p->entries[0] = (ss_packed_entry){.type = SLIPSTREAM_JSON_OBJECT, .first = 1, .json = {0, 2}};
    p->count = 1;
}

/* A member of the whole, which is entry 0, or an element of the last member. */
static inline ss_packed_entry *packed_add(packed *p, uint32_t parent, const char *key) {
    ss_packed_entry *entry = &p->entries[p->count];
    REQUIRE(p->count < PACKED_ENTRIES);
    if (p->entries[parent].count++ == 0)
        p->entries[parent].first = p->count;
    p->count++;
    entry->key = entry->token = packed_text(p, key);
    return entry;
}

static inline void packed_add_text(packed *p, const char *key, const char *text) {
    ss_packed_entry *entry = packed_add(p, 0, key);
    entry->type = SLIPSTREAM_JSON_TEXT;
    entry->text = packed_text(p, text);
}

static inline void packed_add_number(packed *p, uint32_t parent, const char *key, int64_t number) {
    ss_packed_entry *entry = packed_add(p, parent, key);
    entry->type = SLIPSTREAM_JSON_NUMBER;
    entry->fits = SS_IS_WHOLE | SS_FITS_I64 | SS_FITS_F64 | (number < 0 ? 0 : SS_FITS_U64);
    entry->whole = (uint64_t)number;
    entry->real = (double)number;
}

/* The last member: at most ten numbers. */
static inline void packed_add_numbers(packed *p, const char *key, size_t count,
                                      const int64_t *numbers) {
    const uint32_t list = p->count;
    packed_add(p, 0, key)->type = SLIPSTREAM_JSON_ARRAY;
    for (size_t i = 0; i < count; i++)
        packed_add_number(p, list, (char[]){(char)('0' + i), '\0'}, numbers[i]);
}

/* The whole of it, in memory of exactly its size. */
static inline char *packed_bytes(const packed *p, size_t *len) {
    const ss_packed_head head = {p->count, 2};
    const size_t entries = p->count * sizeof(ss_packed_entry);
    *len = sizeof head + entries + 3 + p->texts_len;
    char *bytes = malloc(*len);
    REQUIRE(bytes != NULL);
    memcpy(bytes, &head, sizeof head);
    memcpy(bytes + sizeof head, p->entries, entries);
    memcpy(bytes + sizeof head + entries, "{}", 3);
    memcpy(bytes + sizeof head + entries + 3, p->texts, p->texts_len);
    return bytes;
}

#endif
