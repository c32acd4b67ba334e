#include "base/text.h"

#include "base/secret.h"

#include <stdint.h>
#include <stdio.h>
#include <string.h>

/* Length of the valid UTF-8 character at `p`, 0 if there is none (RFC 3629: no overlong
 * forms, no surrogates, nothing above U+10FFFF). */
static size_t utf8_len(const uint8_t *p, size_t len) {
    size_t n;
    uint8_t low = 0x80;
    uint8_t high = 0xBF;
    if (p[0] < 0x80)
        return 1;
    if (p[0] >= 0xC2 && p[0] <= 0xDF) {
        n = 2;
    } else if (p[0] >= 0xE0 && p[0] <= 0xEF) {
        n = 3;
        if (p[0] == 0xE0)
            low = 0xA0;
        if (p[0] == 0xED)
            high = 0x9F;
    } else if (p[0] >= 0xF0 && p[0] <= 0xF4) {
        n = 4;
        if (p[0] == 0xF0)
            low = 0x90;
        if (p[0] == 0xF4)
            high = 0x8F;
    } else {
        return 0;
    }
    if (len < n || p[1] < low || p[1] > high)
        return 0;
    for (size_t i = 2; i < n; i++)
        if (p[i] < 0x80 || p[i] > 0xBF)
            return 0;
    return n;
}

static size_t copy(char *out, size_t room, const char *text, size_t len, bool hides, bool *is_cut) {
    static const char hex[] = "0123456789abcdef";
    const uint8_t *p = (const uint8_t *)text;
    size_t used = 0;
    size_t at = 0;
    *is_cut = false;
    if (room == 0)
        return 0;
    while (at < len) {
        char piece[4];
        const size_t hidden = hides ? ss_secret_at(text + at, len - at) : 0;
        size_t n = hidden > 0 ? hidden : utf8_len(p + at, len - at);
        size_t put = n;
        const uint8_t byte = p[at];
        /* C1 controls are U+0080 to U+009F: two bytes, C2 80 to C2 9F. */
        const int control = byte < 0x20 || byte == 0x7F || (n == 2 && byte == 0xC2 && p[at + 1] < 0xA0);
        if (hidden > 0) {
            memcpy(piece, "***", put = 3);
        } else if (n == 0 || control) {
            n = 1;
            piece[0] = '\\';
            put = 2;
            if (byte == '\n') {
                piece[1] = 'n';
            } else if (byte == '\t') {
                piece[1] = 't';
            } else if (byte == '\r') {
                piece[1] = 'r';
            } else {
                piece[1] = 'x';
                piece[2] = hex[byte >> 4];
                piece[3] = hex[byte & 15];
                put = 4;
            }
        } else {
            memcpy(piece, p + at, n);
        }
        if (used + put >= room) {
            *is_cut = true;
            break;
        }
        memcpy(out + used, piece, put);
        used += put;
        at += n;
    }
    out[used] = '\0';
    return used;
}

size_t ss_text_escape(char *out, size_t room, const char *text, size_t len) {
    bool is_cut;
    return copy(out, room, text, len, false, &is_cut);
}

size_t ss_text_show(char *out, size_t room, const char *text, size_t len, bool *is_cut) {
    bool unasked;
    return copy(out, room, text, len, true, is_cut == NULL ? &unasked : is_cut);
}

size_t ss_text_keep(char *out, size_t room, const char *text, size_t len) {
    char mark[SS_CUT_ROOM];
    if (len <= room) {
        memcpy(out, text, len);
        return len;
    }
    const int marks = snprintf(mark, sizeof mark, SS_CUT_MARK, (unsigned long long)len);
    const size_t most = room - (size_t)marks;
    size_t kept = most;
    while (most - kept < 3 && ((uint8_t)text[kept] & 0xC0) == 0x80)
        kept--;
    memcpy(out, text, kept);
    memcpy(out + kept, mark, (size_t)marks);
    return kept + (size_t)marks;
}

size_t ss_text_show_marked(char *out, size_t room, const char *text, size_t len) {
    bool is_cut;
    size_t used = ss_text_show(out, room, text, len, &is_cut);
    if (!is_cut)
        return used;
    used = ss_text_show(out, room - SS_CUT_ROOM, text, len, NULL);
    return used + (size_t)snprintf(out + used, room - used, SS_CUT_MARK, (unsigned long long)len);
}
