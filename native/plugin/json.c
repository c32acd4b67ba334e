#include "plugin/json.h"

#include <locale.h>
#include <slipstream.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

enum { DEPTH_MAX = 64 };

typedef struct cursor {
    const char *at;
    const char *end;
} cursor;

static void skip_space(cursor *c) {
    while (c->at < c->end &&
           (*c->at == ' ' || *c->at == '\n' || *c->at == '\r' || *c->at == '\t'))
        c->at++;
}

static bool take(cursor *c, char wanted) {
    skip_space(c);
    if (c->at == c->end || *c->at != wanted)
        return false;
    c->at++;
    return true;
}

static bool read_value(cursor *c, ss_json *out, int depth);

static bool read_string(cursor *c, ss_json *out) {
    out->text = c->at;
    out->type = SLIPSTREAM_JSON_TEXT;
    if (!take(c, '"'))
        return false;
    while (c->at < c->end && *c->at != '"')
        c->at += *c->at == '\\' && c->end - c->at > 1 ? 2 : 1;
    if (c->at >= c->end)
        return false;
    c->at++;
    out->len = (size_t)(c->at - out->text);
    return true;
}

/* Steps to the next member or element; `first` before any. False at the closing mark
 * (taken, and `*ok` true) or at something else (`*ok` false). */
static bool next_item(cursor *c, bool object, bool first, ss_json *key, bool *ok) {
    const char close = object ? '}' : ']';
    *ok = true;
    if (take(c, close))
        return false;
    if (!first && !take(c, ',')) {
        *ok = false;
        return false;
    }
    skip_space(c);
    if (object && (!read_string(c, key) || !take(c, ':'))) {
        *ok = false;
        return false;
    }
    return true;
}

static bool read_container(cursor *c, bool object, int depth) {
    ss_json key;
    ss_json item;
    bool ok;
    c->at++;
    for (bool first = true; next_item(c, object, first, &key, &ok); first = false)
        if (!read_value(c, &item, depth + 1))
            return false;
    return ok;
}

static bool read_value(cursor *c, ss_json *out, int depth) {
    static const char word_bytes[] = "+-.0123456789eEaflnrstu";
    skip_space(c);
    if (c->at == c->end || depth > DEPTH_MAX)
        return false;
    out->text = c->at;
    switch (*c->at) {
    case '"':
        return read_string(c, out);
    case '{':
    case '[': {
        const bool object = *c->at == '{';
        out->type = object ? SLIPSTREAM_JSON_OBJECT : SLIPSTREAM_JSON_ARRAY;
        if (!read_container(c, object, depth))
            return false;
        break;
    }
    default:
        while (c->at < c->end && *c->at != '\0' && strchr(word_bytes, *c->at) != NULL)
            c->at++;
        const size_t len = (size_t)(c->at - out->text);
        if (len == 4 && memcmp(out->text, "null", 4) == 0)
            out->type = SLIPSTREAM_JSON_NULL;
        else if ((len == 4 && memcmp(out->text, "true", 4) == 0) ||
                 (len == 5 && memcmp(out->text, "false", 5) == 0))
            out->type = SLIPSTREAM_JSON_BOOL;
        else if (len > 0 && (*out->text == '-' || (*out->text >= '0' && *out->text <= '9')))
            out->type = SLIPSTREAM_JSON_NUMBER;
        else
            return false;
    }
    out->len = (size_t)(c->at - out->text);
    return true;
}

static unsigned hex_digit(char c) {
    if (c >= '0' && c <= '9')
        return (unsigned)(c - '0');
    if (c >= 'a' && c <= 'f')
        return (unsigned)(c - 'a') + 10;
    if (c >= 'A' && c <= 'F')
        return (unsigned)(c - 'A') + 10;
    return 0;
}

static unsigned hex4(const char *p, const char *end) {
    if (end - p < 4)
        return 0xFFFD;
    return hex_digit(p[0]) << 12 | hex_digit(p[1]) << 8 | hex_digit(p[2]) << 4 | hex_digit(p[3]);
}

static size_t put_utf8(char *out, unsigned code) {
    char bytes[4];
    size_t n = 0;
    if (code < 0x80) {
        bytes[n++] = (char)code;
    } else {
        if (code < 0x800) {
            bytes[n++] = (char)(0xC0 | code >> 6);
        } else {
            if (code < 0x10000) {
                bytes[n++] = (char)(0xE0 | code >> 12);
            } else {
                bytes[n++] = (char)(0xF0 | code >> 18);
                bytes[n++] = (char)(0x80 | (code >> 12 & 63));
            }
            bytes[n++] = (char)(0x80 | (code >> 6 & 63));
        }
        bytes[n++] = (char)(0x80 | (code & 63));
    }
    if (out != NULL)
        memcpy(out, bytes, n);
    return n;
}

/* One character of a text at *p, behind its opening quote; writes it to `out` if given. */
static size_t unescape(const char **p, const char *end, char *out) {
    static const char marks[] = "bfnrt";
    static const char values[] = "\b\f\n\r\t";
    if (**p != '\\' || end - *p < 2) {
        if (out != NULL)
            *out = **p;
        (*p)++;
        return 1;
    }
    const char mark = (*p)[1];
    *p += 2;
    if (mark != 'u') {
        const char *known = strchr(marks, mark);
        if (out != NULL)
            *out = known != NULL && mark != '\0' ? values[known - marks] : mark;
        return 1;
    }
    unsigned code = hex4(*p, end);
    *p = end - *p < 4 ? end : *p + 4;
    if (code >= 0xD800 && code < 0xDC00 && end - *p >= 6 && (*p)[0] == '\\' && (*p)[1] == 'u') {
        const unsigned low = hex4(*p + 2, end);
        if (low >= 0xDC00 && low < 0xE000) {
            code = 0x10000 + ((code - 0xD800) << 10) + (low - 0xDC00);
            *p += 6;
        }
    }
    if (code >= 0xD800 && code < 0xE000)
        code = 0xFFFD;
    return put_utf8(out, code);
}

size_t ss_json_text(const ss_json *text, char *out) {
    const char *p = text->text + 1;
    const char *end = text->text + text->len - 1;
    size_t len = 0;
    while (p < end)
        len += unescape(&p, end, out == NULL ? NULL : out + len);
    return len;
}

/* One character of a reference token (RFC 6901, section 4), 0 and *end true at its end. */
static char token_char(const char **p, bool *end, bool *ok) {
    *end = **p == '\0' || **p == '/';
    if (*end)
        return 0;
    if (**p != '~')
        return *(*p)++;
    const char escaped = (*p)[1];
    if (escaped != '0' && escaped != '1') {
        *ok = false;
        *end = true;
        return 0;
    }
    *p += 2;
    return escaped == '0' ? '~' : '/';
}

static bool token_ok(const char *token) {
    bool ok = true;
    bool end = false;
    while (!end)
        token_char(&token, &end, &ok);
    return ok;
}

static bool token_equals(const char *token, const ss_json *key) {
    const char *p = key->text + 1;
    const char *key_end = key->text + key->len - 1;
    bool ok = true;
    bool end;
    while (p < key_end) {
        char piece[4];
        const size_t n = unescape(&p, key_end, piece);
        for (size_t i = 0; i < n; i++)
            if (token_char(&token, &end, &ok) != piece[i] || end)
                return false;
    }
    token_char(&token, &end, &ok);
    return end;
}

static bool token_index(const char *token, size_t *index) {
    size_t value = 0;
    if (*token < '0' || *token > '9' || (token[0] == '0' && token[1] != '\0' && token[1] != '/'))
        return false;
    for (; *token != '\0' && *token != '/'; token++) {
        if (*token < '0' || *token > '9' || value > SIZE_MAX / 10 - 1)
            return false;
        value = value * 10 + (size_t)(*token - '0');
    }
    *index = value;
    return true;
}

/* Steps from a container to the member or element that `token` names. */
static int32_t step(ss_json *value, const char *token) {
    cursor c = {value->text + 1, value->text + value->len};
    const bool object = value->type == SLIPSTREAM_JSON_OBJECT;
    ss_json key;
    ss_json item;
    size_t wanted = 0;
    size_t index = 0;
    bool ok;
    if (!object && value->type != SLIPSTREAM_JSON_ARRAY)
        return SLIPSTREAM_NOT_FOUND;
    if (!object && !token_index(token, &wanted))
        return SLIPSTREAM_NOT_FOUND;
    for (; next_item(&c, object, index == 0, &key, &ok); index++) {
        if (!read_value(&c, &item, 0))
            return SLIPSTREAM_MALFORMED;
        if (object ? token_equals(token, &key) : index == wanted) {
            *value = item;
            return SLIPSTREAM_OK;
        }
    }
    return ok ? SLIPSTREAM_NOT_FOUND : SLIPSTREAM_MALFORMED;
}

int32_t ss_json_find(const char *text, size_t len, const char *pointer, ss_json *out) {
    cursor c = {text, text + len};
    ss_json value = {0};
    if (pointer == NULL || (*pointer != '\0' && *pointer != '/'))
        return SLIPSTREAM_INVALID_ARGUMENT;
    for (const char *p = pointer; *p != '\0'; p++)
        if (*p == '/' && !token_ok(p + 1))
            return SLIPSTREAM_INVALID_ARGUMENT;
    if (!read_value(&c, &value, 0))
        return SLIPSTREAM_MALFORMED;
    while (*pointer == '/') {
        const int32_t status = step(&value, pointer + 1);
        if (status != SLIPSTREAM_OK)
            return status;
        pointer++;
        while (*pointer != '\0' && *pointer != '/')
            pointer++;
    }
    *out = value;
    return SLIPSTREAM_OK;
}

size_t ss_json_count(const ss_json *value) {
    cursor c = {value->text + 1, value->text + value->len};
    const bool object = value->type == SLIPSTREAM_JSON_OBJECT;
    ss_json key;
    ss_json item;
    size_t count = 0;
    bool ok;
    if (value->type == SLIPSTREAM_JSON_TEXT)
        return ss_json_text(value, NULL);
    if (!object && value->type != SLIPSTREAM_JSON_ARRAY)
        return 0;
    while (next_item(&c, object, count == 0, &key, &ok) && read_value(&c, &item, 0))
        count++;
    return count;
}

int32_t ss_json_key(const ss_json *object, size_t index, ss_json *key) {
    cursor c = {object->text + 1, object->text + object->len};
    ss_json item;
    bool ok;
    if (object->type != SLIPSTREAM_JSON_OBJECT)
        return SLIPSTREAM_WRONG_TYPE;
    for (size_t i = 0; next_item(&c, true, i == 0, key, &ok); i++) {
        if (i == index)
            return SLIPSTREAM_OK;
        if (!read_value(&c, &item, 0))
            return SLIPSTREAM_MALFORMED;
    }
    return SLIPSTREAM_NOT_FOUND;
}

/* The digits of an integer; WRONG_TYPE for a number with a fraction or an exponent. */
static int32_t whole_number(const ss_json *value, bool *negative, uint64_t *magnitude) {
    const char *p = value->text;
    const char *end = value->text + value->len;
    uint64_t sum = 0;
    if (value->type != SLIPSTREAM_JSON_NUMBER)
        return SLIPSTREAM_WRONG_TYPE;
    *negative = *p == '-';
    if (*negative)
        p++;
    if (p == end)
        return SLIPSTREAM_WRONG_TYPE;
    for (const char *q = p; q < end; q++)
        if (*q < '0' || *q > '9')
            return SLIPSTREAM_WRONG_TYPE;
    for (; p < end; p++) {
        const uint64_t digit = (uint64_t)(*p - '0');
        if (sum > (UINT64_MAX - digit) / 10)
            return SLIPSTREAM_OUT_OF_RANGE;
        sum = sum * 10 + digit;
    }
    *magnitude = sum;
    return SLIPSTREAM_OK;
}

int32_t ss_json_u64(const ss_json *value, uint64_t *out) {
    bool negative;
    uint64_t magnitude;
    const int32_t status = whole_number(value, &negative, &magnitude);
    if (status != SLIPSTREAM_OK)
        return status;
    if (negative && magnitude != 0)
        return SLIPSTREAM_OUT_OF_RANGE;
    *out = magnitude;
    return SLIPSTREAM_OK;
}

int32_t ss_json_i64(const ss_json *value, int64_t *out) {
    bool negative;
    uint64_t magnitude;
    const int32_t status = whole_number(value, &negative, &magnitude);
    if (status != SLIPSTREAM_OK)
        return status;
    if (magnitude > (uint64_t)INT64_MAX + (negative ? 1 : 0))
        return SLIPSTREAM_OUT_OF_RANGE;
    *out = negative ? (int64_t)(~magnitude + 1) : (int64_t)magnitude;
    return SLIPSTREAM_OK;
}

int32_t ss_json_f64(const ss_json *value, double *out) {
    char digits[512];
    char *end;
    if (value->type != SLIPSTREAM_JSON_NUMBER)
        return SLIPSTREAM_WRONG_TYPE;
    if (value->len >= sizeof digits)
        return SLIPSTREAM_OUT_OF_RANGE;
    memcpy(digits, value->text, value->len);
    digits[value->len] = '\0';
    /* strtod follows the process's locale, where the point may be a comma. */
    const locale_t c_locale = newlocale(LC_NUMERIC_MASK, "C", (locale_t)0);
    if (c_locale == (locale_t)0)
        return SLIPSTREAM_NO_MEMORY;
    const double number = strtod_l(digits, &end, c_locale);
    freelocale(c_locale);
    if (end != digits + value->len)
        return SLIPSTREAM_WRONG_TYPE;
    if (number - number != 0)
        return SLIPSTREAM_OUT_OF_RANGE;
    *out = number;
    return SLIPSTREAM_OK;
}
