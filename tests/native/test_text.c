/* ss_text_escape: known texts, then random bytes against the properties that it promises.
 * Argument: iterations. */
#include "check.h"
#include "base/secret.h"
#include "base/text.h"
#include "library/refusal.h"

#include <slipstream.h>
#include <string.h>

static void shows(const char *given, size_t len, const char *wanted) {
    char *out = malloc(4 * len + 1);
    REQUIRE(ss_text_escape(out, 4 * len + 1, given, len) == strlen(wanted));
    REQUIRE(strcmp(out, wanted) == 0);
    free(out);
}

/* A second opinion: the length of the well-formed character at `p`, by its code point. */
static size_t valid(const uint8_t *p, size_t len) {
    static const uint32_t smallest[] = {0, 0, 0x80, 0x800, 0x10000};
    const size_t n = p[0] < 0x80 ? 1 : p[0] >> 5 == 6 ? 2 : p[0] >> 4 == 14 ? 3 : p[0] >> 3 == 30 ? 4 : 0;
    if (n == 0 || n > len)
        return 0;
    uint32_t code = n == 1 ? p[0] : p[0] & (0xFFu >> (n + 1));
    for (size_t i = 1; i < n; i++) {
        if (p[i] >> 6 != 2)
            return 0;
        code = code << 6 | (p[i] & 63u);
    }
    if (code < smallest[n] || code > 0x10FFFF || (code >= 0xD800 && code < 0xE000))
        return 0;
    return n;
}

static void check_properties(const uint8_t *given, size_t len) {
    const size_t room = 1 + random_below(4 * len + 8);
    char *out = malloc(room);
    char *all = malloc(4 * len + 1);
    const size_t used = ss_text_escape(out, room, (const char *)given, len);
    const size_t full = ss_text_escape(all, 4 * len + 1, (const char *)given, len);
    REQUIRE(used < room && out[used] == '\0' && strlen(out) == used);
    REQUIRE(used <= full && memcmp(out, all, used) == 0); /* a cut text is a prefix */
    REQUIRE(full < room ? used == full : used + 4 >= room);
    for (size_t i = 0, n; i < full; i += n) {
        n = valid((const uint8_t *)all + i, full - i);
        REQUIRE(n > 0);
        REQUIRE(n > 1 || ((uint8_t)all[i] >= 0x20 && all[i] != 0x7F));
        REQUIRE(!(n == 2 && (uint8_t)all[i] == 0xC2 && (uint8_t)all[i + 1] < 0xA0));
    }
    /* What is valid and no control character stays as it is. */
    size_t at = 0;
    for (size_t i = 0, n; i < len; i += n) {
        n = valid(given + i, len - i);
        const int plain = n > 1 ? !(n == 2 && given[i] == 0xC2 && given[i + 1] < 0xA0)
                                : n == 1 && given[i] >= 0x20 && given[i] != 0x7F;
        if (plain) {
            REQUIRE(memcmp(all + at, given + i, n) == 0);
            at += n;
        } else {
            REQUIRE(all[at] == '\\');
            at += all[at + 1] == 'x' ? 4 : 2;
            n = 1;
        }
    }
    REQUIRE(at == full);
    free(out);
    free(all);
}

static void masks(const char *given, const char *wanted) {
    char out[256];
    bool is_cut;
    REQUIRE(ss_text_show(out, sizeof out, given, strlen(given), &is_cut) == strlen(wanted));
    REQUIRE(strcmp(out, wanted) == 0 && !is_cut);
}

static void check_secrets(void) {
    static const char *const secrets[] = {"hunter2", "long", "long-secret", "a.c+d", "****", "\xc3\xbc\n\x01"};
    masks("hunter2", "hunter2"); /* nobody knows yet */
    REQUIRE(ss_secret_hide("abc", 3) == SLIPSTREAM_OK); /* too short */
    for (size_t i = 0; i < 2 * sizeof secrets / sizeof secrets[0]; i++) {
        const char *one = secrets[i % (sizeof secrets / sizeof secrets[0])];
        REQUIRE(ss_secret_hide(one, strlen(one)) == SLIPSTREAM_OK);
    }
    masks("no way in: hunter2!", "no way in: ***!");
    masks("hunter2hunter2", "******");
    masks("hunter", "hunter");
    masks("abc abc", "abc abc");
    masks("the long-secret and long", "the *** and ***");
    masks("long-secre", "***-secre");
    masks("a.c+d abcxd", "*** abcxd");
    masks("***hunter2", "******");
    masks("*****hunter2", "****" "***");
    masks("\x01 \xc3\xbc\n\x01", "\\x01 ***");
    masks("", "");
    shows("hunter2", 7, "hunter2"); /* a name is no text */
    /* Never behind the end of the text, and cut before the mask, not in it. */
    char *end = malloc(6);
    char out[8];
    bool is_cut;
    memcpy(end, "hunter", 6);
    REQUIRE(ss_text_show(out, sizeof out, end, 6, NULL) == 6);
    free(end);
    REQUIRE(ss_text_show(out, 4, "x hunter2", 9, &is_cut) == 2 && is_cut);
    REQUIRE(strcmp(out, "x ") == 0);
}

/* Cut at a character, with a mark, in the room that there is. */
static void check_marks(void) {
    char given[200];
    char out[201];
    memset(given, 'a', sizeof given);
    REQUIRE(ss_text_keep(out, 200, given, 200) == 200 && memcmp(out, given, 200) == 0);
    for (size_t room = 60; room < 80; room++) {
        const size_t kept = room - strlen(" [cut: it has 200 bytes]");
        for (size_t back = 1; back < 6; back++) { /* across the edge, or not */
            memset(given, 'a', sizeof given);
            memcpy(given + kept - back, "\xF0\x9F\x98\x80", 4);
            const size_t used = ss_text_keep(out, room, given, sizeof given);
            const size_t whole = back < 4 ? kept - back : kept;
            REQUIRE(used <= room && used == whole + strlen(" [cut: it has 200 bytes]"));
            REQUIRE(memcmp(out, given, whole) == 0 &&
                    memcmp(out + whole, " [cut: it has 200 bytes]", used - whole) == 0);
        }
        memset(given, 0x80, sizeof given); /* no text at all */
        REQUIRE(ss_text_keep(out, room, given, sizeof given) <= room);
    }
    memset(given, '\n', sizeof given); /* two bytes each, when shown */
    const size_t shown = ss_text_show_marked(out, sizeof out, given, sizeof given);
    REQUIRE(shown < sizeof out && strstr(out, "\\n [cut: it has 200 bytes]") != NULL);
    REQUIRE(ss_text_show_marked(out, sizeof out, given, 100) == 200 && strchr(out, '[') == NULL);
}

/* A reason that is too long is cut, and nothing of the room for it is left. */
static void cuts_reasons(void) {
    static ss_refusal why;
    static char long_one[2 * sizeof why.text];
    memset(long_one, 'x', sizeof long_one - 1);
    ss_refuse(&why, 7, "%s", long_one);
    REQUIRE(strlen(why.text) == sizeof why.text - 1 && why.number == 7);
    ss_refuse(&why, 8, "%.*s", 3, long_one);
    REQUIRE(strcmp(why.text, "xxx") == 0 && why.number == 8);
}

int main(int argc, char **argv) {
    static const char *const pieces[] = {"\xC3\xA9", "\xE2\x82\xAC", "\xF0\x9F\x98\x80", "\xC2\x85",
                                         "\xED\xA0\x80", "\xF4\x90\x80\x80", "\xC0\xAF", "plain",
                                         "\n", "\x1B[0m", "\xF4\x8F\xBF\xBF", "\xE0\x80\xAF"};
    const long iterations = argc > 1 ? atol(argv[1]) : 100000;
    char one[1] = {'#'};
    cuts_reasons();
    shows("", 0, "");
    shows("a\nb\tc\rd\0e\x7F", 10, "a\\nb\\tc\\rd\\x00e\\x7f");
    shows("\xE2\x82", 2, "\\xe2\\x82");
    shows("\xC2\x85", 2, "\\xc2\\x85");
    REQUIRE(ss_text_escape(one, 0, "x", 1) == 0 && one[0] == '#');
    REQUIRE(ss_text_escape(one, 1, "x", 1) == 0 && one[0] == '\0');
    for (long i = 0; i < iterations; i++) {
        uint8_t bytes[96];
        size_t len = 0;
        while (len < 64 && random_below(12) != 0) {
            const char *piece = pieces[random_below(sizeof pieces / sizeof pieces[0])];
            if (random_below(3) == 0) {
                bytes[len++] = (uint8_t)random_u64();
            } else {
                memcpy(bytes + len, piece, strlen(piece));
                len += strlen(piece);
            }
        }
        uint8_t *exact = malloc(len + 1);
        memcpy(exact, bytes, len);
        exact = realloc(exact, len == 0 ? 1 : len); /* so that a read beyond is seen */
        check_properties(exact, len);
        free(exact);
    }
    printf("text: %ld random texts\n", iterations);
    check_secrets();
    check_marks();
    return 0;
}
