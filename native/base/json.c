#include "base/json.h"

#include <string.h>

typedef struct piece {
    const char *at;
    size_t len;
} piece;

/* The quote that ends the string whose text begins here; NULL if there is none. */
static const char *end_of_string(const char *text, const char *end) {
    for (const char *at = text; at < end; at++) {
        size_t escapes = 0;
        at = memchr(at, '"', (size_t)(end - at));
        if (at == NULL)
            return NULL;
        while (at - escapes > text && at[-1 - (ptrdiff_t)escapes] == '\\')
            escapes++;
        if (escapes % 2 == 0)
            return at;
    }
    return NULL;
}

static bool names_a_member(const char *behind, const char *end) {
    while (behind < end && (*behind == ' ' || *behind == '\t'))
        behind++;
    return behind < end && *behind == ':';
}

static bool is_known(const piece *keys, size_t count, piece key) {
    for (size_t i = 0; i < count; i++)
        if (keys[i].len == key.len && memcmp(keys[i].at, key.at, key.len) == 0)
            return true;
    return false;
}

bool ss_json_repeats(const char *text, size_t len, const char **key, size_t *key_len) {
    const char *end = text + len;
    piece keys[SS_JSON_KEYS];
    size_t count = 0;
    size_t depth = 0;
    for (const char *at = text; at < end && count < SS_JSON_KEYS; at++) {
        if (*at == '{' || *at == '[') {
            depth++;
        } else if (*at == '}' || *at == ']') {
            depth--;
        } else if (*at == '"') {
            const char *close = end_of_string(at + 1, end);
            if (close == NULL)
                return false;
            const piece found = {at + 1, (size_t)(close - at - 1)};
            at = close;
            if (depth != 1 || !names_a_member(close + 1, end))
                continue;
            if (is_known(keys, count, found)) {
                *key = found.at;
                *key_len = found.len;
                return true;
            }
            keys[count++] = found;
        }
    }
    return false;
}
