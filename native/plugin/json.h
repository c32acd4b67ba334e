/* json: looks a value up in a JSON text by RFC 6901 pointer, without building a tree.
 * The text comes from the host, but every byte is checked as if it did not. */
#ifndef SS_JSON_H
#define SS_JSON_H

#include <stddef.h>
#include <stdint.h>

typedef struct ss_json {
    const char *text; /* the value's first byte */
    size_t len;
    uint32_t type; /* SLIPSTREAM_JSON_* */
    uint32_t reserved;
} ss_json;

/* OK, NOT_FOUND, INVALID_ARGUMENT (pointer), MALFORMED (text). */
int32_t ss_json_find(const char *text, size_t len, const char *pointer, ss_json *out);

/* Elements of an array, members of an object, bytes of a text; 0 for the rest. */
size_t ss_json_count(const ss_json *value);

/* The key of member `index`, as a value of type TEXT. OK, NOT_FOUND, WRONG_TYPE. */
int32_t ss_json_key(const ss_json *object, size_t index, ss_json *key);

/* Each: OK, WRONG_TYPE, OUT_OF_RANGE. */
int32_t ss_json_i64(const ss_json *value, int64_t *out);
int32_t ss_json_u64(const ss_json *value, uint64_t *out);
int32_t ss_json_f64(const ss_json *value, double *out);

/* Writes an unescaped text to `out` unless that is NULL; returns its length in bytes. */
size_t ss_json_text(const ss_json *text, char *out);

#endif
