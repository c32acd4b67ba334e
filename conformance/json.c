/* json.c - a strict reader of JSON, so that the probe needs nothing of its host to read its
 * config, and can hold slipstream.config/1 against it.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "instance.h"

#include <stdlib.h>
#include <string.h>

enum { DEPTH_MAX = 64 };

static bool parse(const char **at, const char *end, int depth, json *out);

static void skip_space(const char **at, const char *end) {
    while (*at < end && (**at == ' ' || **at == '\t' || **at == '\n' || **at == '\r'))
        ++*at;
}

static bool is_hex(const char *at, uint32_t *out) {
    *out = 0;
    for (int i = 0; i < 4; i++) {
        const char c = at[i];
        const int digit = c >= '0' && c <= '9'   ? c - '0'
                          : c >= 'a' && c <= 'f' ? c - 'a' + 10
                          : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                                 : -1;
        if (digit < 0)
            return false;
        *out = *out * 16 + (uint32_t)digit;
    }
    return true;
}

static size_t put_utf8(uint32_t point, char *out) {
    static const uint8_t first[] = {0, 0, 0xC0, 0xE0, 0xF0};
    const size_t len = point < 0x80 ? 1 : point < 0x800 ? 2 : point < 0x10000 ? 3 : 4;
    for (size_t i = len; i-- > 1; point >>= 6)
        out[i] = (char)(0x80 | (point & 0x3F));
    out[0] = (char)(first[len] | point);
    return len;
}

/* The bytes of one character that is not escaped; 0 if it is no UTF-8. */
static size_t utf8_len(const uint8_t *p, size_t room) {
    const size_t len = *p < 0x80                  ? 1
                       : *p >= 0xC2 && *p <= 0xDF ? 2
                       : (*p & 0xF0) == 0xE0      ? 3
                       : *p >= 0xF0 && *p <= 0xF4 ? 4
                                                  : 0;
    if (len == 0 || len > room)
        return 0;
    for (size_t i = 1; i < len; i++)
        if ((p[i] & 0xC0) != 0x80)
            return 0;
    const bool is_short = (*p == 0xE0 && p[1] < 0xA0) || (*p == 0xF0 && p[1] < 0x90);
    const bool is_none = (*p == 0xED && p[1] > 0x9F) || (*p == 0xF4 && p[1] > 0x8F);
    return is_short || is_none ? 0 : len;
}

/* One character of a text, unescaped into `out`; 0 if it is none. */
static size_t read_character(const char **at, const char *end, char *out) {
    static const char escapes[] = "\"\\/bfnrt", meant[] = "\"\\/\b\f\n\r\t";
    uint32_t point, low;
    if ((uint8_t) * *at < 0x20)
        return 0;
    if (**at != '\\') {
        const size_t len = utf8_len((const uint8_t *)*at, (size_t)(end - *at));
        memcpy(out, *at, len);
        *at += len;
        return len;
    }
    if (end - *at < 2)
        return 0;
    const char *found = (*at)[1] == '\0' ? NULL : strchr(escapes, (*at)[1]);
    if (found != NULL) {
        *out = meant[found - escapes];
        *at += 2;
        return 1;
    }
    if ((*at)[1] != 'u' || end - *at < 6 || !is_hex(*at + 2, &point))
        return 0;
    *at += 6;
    if (point < 0xD800 || point > 0xDFFF)
        return put_utf8(point, out);
    if (point > 0xDBFF || end - *at < 6 || (*at)[0] != '\\' || (*at)[1] != 'u' ||
        !is_hex(*at + 2, &low) || low < 0xDC00 || low > 0xDFFF)
        return 0;
    *at += 6;
    return put_utf8(0x10000 + ((point - 0xD800) << 10) + (low - 0xDC00), out);
}

static bool parse_text(const char **at, const char *end, json *out) {
    char character[4];
    for (++*at; *at < end && **at != '"';) {
        const size_t len = read_character(at, end, character);
        if (len == 0)
            return false;
        out->count += len;
    }
    return (*at)++ < end;
}

static size_t digits(const char **at, const char *end) {
    const char *start = *at;
    while (*at < end && **at >= '0' && **at <= '9')
        ++*at;
    return (size_t)(*at - start);
}

static bool parse_number(const char **at, const char *end) {
    if (**at == '-')
        ++*at;
    const char *first = *at;
    const size_t whole = digits(at, end);
    if (whole == 0 || (whole > 1 && *first == '0'))
        return false;
    if (*at < end && **at == '.') {
        ++*at;
        if (digits(at, end) == 0)
            return false;
    }
    if (*at < end && (**at == 'e' || **at == 'E')) {
        ++*at;
        if (*at < end && (**at == '+' || **at == '-'))
            ++*at;
        return digits(at, end) > 0;
    }
    return true;
}

static bool parse_children(const char **at, const char *end, int depth, json *out) {
    const char close = **at == '{' ? '}' : ']';
    json child;
    ++*at;
    skip_space(at, end);
    if (*at < end && **at == close)
        return ++*at, true;
    for (;; ++*at) {
        if (close == '}') {
            skip_space(at, end);
            if (*at == end || **at != '"' || !parse(at, end, depth, &child))
                return false;
            skip_space(at, end);
            if (*at == end || *(*at)++ != ':')
                return false;
        }
        if (!parse(at, end, depth, &child))
            return false;
        out->count++;
        skip_space(at, end);
        if (*at == end || (**at != ',' && **at != close))
            return false;
        if (**at == close)
            return ++*at, true;
    }
}

static bool parse_word(const char **at, const char *end, const char *word) {
    const size_t len = strlen(word);
    if ((size_t)(end - *at) < len || memcmp(*at, word, len) != 0)
        return false;
    *at += len;
    return true;
}

static bool parse(const char **at, const char *end, int depth, json *out) {
    bool ok;
    skip_space(at, end);
    if (*at == end || depth == DEPTH_MAX)
        return false;
    *out = (json){*at, NULL, 0, SLIPSTREAM_JSON_NUMBER};
    switch (**at) {
    case '{':
    case '[':
        out->type = **at == '{' ? SLIPSTREAM_JSON_OBJECT : SLIPSTREAM_JSON_ARRAY;
        ok = parse_children(at, end, depth + 1, out);
        break;
    case '"':
        out->type = SLIPSTREAM_JSON_TEXT;
        ok = parse_text(at, end, out);
        break;
    case 't':
    case 'f':
        out->type = SLIPSTREAM_JSON_BOOL;
        ok = parse_word(at, end, **at == 't' ? "true" : "false");
        break;
    case 'n':
        out->type = SLIPSTREAM_JSON_NULL;
        ok = parse_word(at, end, "null");
        break;
    default:
        ok = parse_number(at, end);
    }
    out->end = *at;
    return ok;
}

bool json_parse(const char *text, size_t len, json *out) {
    const char *at = text;
    const char *end = text + len;
    if (!parse(&at, end, 0, out))
        return false;
    skip_space(&at, end);
    return at == end;
}

/* What follows was parsed once, and is sound. */
bool json_child(const json *parent, size_t index, json *key, json *out) {
    const char *at = parent->start + 1;
    json skipped;
    if ((parent->type != SLIPSTREAM_JSON_OBJECT && parent->type != SLIPSTREAM_JSON_ARRAY) ||
        index >= parent->count)
        return false;
    for (size_t i = 0; i <= index; i++) {
        if (parent->type == SLIPSTREAM_JSON_OBJECT) {
            parse(&at, parent->end, 0, key == NULL ? &skipped : key);
            skip_space(&at, parent->end);
            at++;
        }
        parse(&at, parent->end, 0, out);
        skip_space(&at, parent->end);
        at++;
    }
    return true;
}

size_t json_unescape(const json *text, char *out) {
    const char *at = text->start + 1;
    size_t len = 0;
    while (at < text->end - 1)
        len += read_character(&at, text->end - 1, out + len);
    return len;
}

bool json_find(const json *object, const char *key, json *out) {
    char name[TEXT_ROOM];
    json found;
    for (size_t i = 0; json_child(object, i, &found, out); i++)
        if ((size_t)(found.end - found.start) < sizeof name &&
            json_unescape(&found, name) == strlen(key) && memcmp(name, key, strlen(key)) == 0)
            return true;
    return false;
}

bool json_is_integer(const json *value) {
    for (const char *at = value->start; at < value->end; at++)
        if (*at == '.' || *at == 'e' || *at == 'E')
            return false;
    return value->type == SLIPSTREAM_JSON_NUMBER;
}

static uint64_t hash_number(const json *value) {
    char text[TEXT_ROOM] = "";
    const size_t len = (size_t)(value->end - value->start);
    if (json_is_integer(value))
        return hash_of(value->start, len);
    memcpy(text, value->start, len < sizeof text ? len : sizeof text - 1);
    const double number = strtod(text, NULL);
    return hash_of(&number, sizeof number);
}

static uint64_t hash_text(const json *value) {
    char *text = malloc((size_t)(value->end - value->start));
    const uint64_t hash = text == NULL ? 0 : hash_of(text, json_unescape(value, text));
    free(text);
    return hash;
}

uint64_t json_hash(const json *value) {
    uint64_t hash = value->type;
    json key, child;
    switch (value->type) {
    case SLIPSTREAM_JSON_TEXT:
        return hash_text(value);
    case SLIPSTREAM_JSON_NUMBER:
        return hash_number(value);
    case SLIPSTREAM_JSON_BOOL:
        return hash + (*value->start == 't' ? 100 : 200);
    default:
        for (size_t i = 0; json_child(value, i, &key, &child); i++) {
            if (value->type == SLIPSTREAM_JSON_OBJECT)
                hash = hash * 31 + json_hash(&key);
            hash = hash * 31 + json_hash(&child);
        }
        return hash;
    }
}
