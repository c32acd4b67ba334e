/* The JSON walker: known answers, then mutations of texts and pointers, each in memory of
 * exactly its size. Argument: iterations. */
#include "check.h"
#include "plugin/json.h"

#include <slipstream.h>
#include <string.h>

static const char *const texts[] = {
    "{\"name\":\"n\",\"a\":[1,2.5,-3e4,true,false,null,\"x\\u00e9\\ud83d\\ude00\"],\"o\":{\"\":{\"k\":0}}}",
    "{\"a/b\":1,\"m~n\":2,\" \":3,\"\\\"\\\\\":4,\"\\u0061bc\":5,\"c\":18446744073709551615}",
    " [ [ [ [ [ 1 ] , 2 ] , \"]\" ] , { } ] , [ ] ] ",
    "\"only a text\"",
    "-9223372036854775808",
    "{\"deep\":{\"deep\":{\"deep\":{\"deep\":[{\"deep\":\"end\"}]}}}}",
};
static const char *const pointers[] = {
    "", "/a/0", "/a/6", "/o//k", "/a~1b", "/m~0n", "/ ", "/\"\\", "/abc", "/c", "/0/0/0/0/0",
    "/deep/deep/deep/deep/0/deep", "/a/-", "/a/01", "/~", "/a/18446744073709551616", "x",
};
enum { TEXTS = sizeof texts / sizeof texts[0], POINTERS = sizeof pointers / sizeof pointers[0] };

static unsigned long found;

/* Everything that can be asked of a value; the text may hold whatever bytes. */
static void ask(const char *text, size_t len, const char *pointer) {
    ss_json value;
    int64_t i;
    uint64_t u;
    double f;
    const int32_t status = ss_json_find(text, len, pointer, &value);
    REQUIRE(status == SLIPSTREAM_OK || status == SLIPSTREAM_NOT_FOUND ||
            status == SLIPSTREAM_MALFORMED || status == SLIPSTREAM_INVALID_ARGUMENT);
    if (status != SLIPSTREAM_OK)
        return;
    found++;
    REQUIRE(value.text >= text && value.len > 0 && value.text + value.len <= text + len);
    REQUIRE(value.type <= SLIPSTREAM_JSON_OBJECT);
    const size_t count = ss_json_count(&value);
    REQUIRE(count <= value.len);
    if (value.type == SLIPSTREAM_JSON_TEXT) {
        char *out = malloc(count + 1);
        out[count] = '#';
        REQUIRE(ss_json_text(&value, out) == count && out[count] == '#');
        free(out);
    }
    for (size_t at = 0; at <= count && at < 16; at++) {
        ss_json key;
        const int32_t got = ss_json_key(&value, at, &key);
        if (got == SLIPSTREAM_OK) {
            REQUIRE(key.type == SLIPSTREAM_JSON_TEXT && key.len >= 2);
            REQUIRE(ss_json_text(&key, NULL) <= key.len);
        } else {
            REQUIRE(value.type == SLIPSTREAM_JSON_OBJECT ? at == count
                                                         : got == SLIPSTREAM_WRONG_TYPE);
        }
    }
    const int32_t si = ss_json_i64(&value, &i);
    const int32_t su = ss_json_u64(&value, &u);
    REQUIRE((value.type == SLIPSTREAM_JSON_NUMBER) || (si == SLIPSTREAM_WRONG_TYPE && su == si));
    if (si == SLIPSTREAM_OK && su == SLIPSTREAM_OK)
        REQUIRE((uint64_t)i == u);
    ss_json_f64(&value, &f);
}

static int32_t look(const char *text, const char *pointer, ss_json *value) {
    return ss_json_find(text, strlen(text), pointer, value);
}

static void known_answers(void) {
    ss_json v;
    int64_t i;
    uint64_t u;
    double f;
    char out[32];
    REQUIRE(look(texts[0], "/a/6", &v) == SLIPSTREAM_OK && ss_json_text(&v, out) == 7);
    REQUIRE(memcmp(out, "x\xC3\xA9\xF0\x9F\x98\x80", 7) == 0);
    REQUIRE(look(texts[0], "/o//k", &v) == SLIPSTREAM_OK && v.len == 1);
    REQUIRE(look(texts[1], "/abc", &v) == SLIPSTREAM_OK && ss_json_i64(&v, &i) == 0 && i == 5);
    REQUIRE(look(texts[1], "/\"\\", &v) == SLIPSTREAM_OK);
    REQUIRE(look(texts[1], "/c", &v) == SLIPSTREAM_OK && ss_json_u64(&v, &u) == 0 && u == UINT64_MAX);
    REQUIRE(ss_json_i64(&v, &i) == SLIPSTREAM_OUT_OF_RANGE);
    REQUIRE(look(texts[4], "", &v) == SLIPSTREAM_OK && ss_json_i64(&v, &i) == 0 && i == INT64_MIN);
    REQUIRE(ss_json_u64(&v, &u) == SLIPSTREAM_OUT_OF_RANGE);
    REQUIRE(look(texts[0], "/a/2", &v) == SLIPSTREAM_OK && ss_json_f64(&v, &f) == 0 && f == -3e4);
    REQUIRE(ss_json_i64(&v, &i) == SLIPSTREAM_WRONG_TYPE);
    REQUIRE(look("1e999", "", &v) == SLIPSTREAM_OK && ss_json_f64(&v, &f) == SLIPSTREAM_OUT_OF_RANGE);
    REQUIRE(look("\"\\ud800\"", "", &v) == SLIPSTREAM_OK && ss_json_text(&v, out) == 3);
    REQUIRE(memcmp(out, "\xEF\xBF\xBD", 3) == 0);
    REQUIRE(look("{\"k\":1,\"k\":2}", "/k", &v) == SLIPSTREAM_OK && v.text[0] == '1');
    REQUIRE(look("{\"k\" 1}", "/k", &v) == SLIPSTREAM_MALFORMED);
    REQUIRE(look("[1,]", "/1", &v) == SLIPSTREAM_MALFORMED);
    REQUIRE(look("[1 2]", "/1", &v) == SLIPSTREAM_MALFORMED);
    REQUIRE(look("{", "", &v) == SLIPSTREAM_MALFORMED);
    REQUIRE(look("\"\\", "", &v) == SLIPSTREAM_MALFORMED);
    REQUIRE(ss_json_find("", 0, "", &v) == SLIPSTREAM_MALFORMED);
    char deep[512];
    for (unsigned depth = 1; depth < 200; depth++) {
        memset(deep, '[', depth);
        memset(deep + depth, ']', depth);
        deep[2 * depth] = '\0';
        REQUIRE(look(deep, "", &v) == (depth <= 65 ? SLIPSTREAM_OK : SLIPSTREAM_MALFORMED));
    }
}

/* Some changes that keep most of the text in place. */
static size_t mutate(char *text, size_t len, size_t room) {
    static const char marks[] = "{}[]\",:\\u/~ 0129-+.eEtrufalsn\x00\xFF";
    for (size_t changes = random_below(4); changes > 0; changes--) {
        const size_t at = random_below(len + 1);
        const char mark = marks[random_below(sizeof marks)];
        switch (random_below(5)) {
        case 0:
            if (at < len)
                text[at] = mark;
            break;
        case 1:
            if (at < len)
                text[at] = (char)random_u64();
            break;
        case 2:
            if (len < room) {
                memmove(text + at + 1, text + at, len - at);
                text[at] = mark;
                len++;
            }
            break;
        case 3:
            if (at < len) {
                memmove(text + at, text + at + 1, len - at - 1);
                len--;
            }
            break;
        default:
            if (random_below(4) == 0)
                len = at;
        }
    }
    return len;
}

int main(int argc, char **argv) {
    const long iterations = argc > 1 ? atol(argv[1]) : 200000;
    known_answers();
    for (long i = 0; i < iterations; i++) {
        char text[256];
        char pointer[64];
        const char *base = texts[random_below(TEXTS)];
        const char *wanted = pointers[random_below(POINTERS)];
        memcpy(text, base, strlen(base));
        strcpy(pointer, wanted);
        const size_t len = mutate(text, strlen(base), sizeof text);
        pointer[mutate(pointer, strlen(wanted), sizeof pointer - 1)] = '\0';
        char *exact = malloc(len == 0 ? 1 : len);
        char *exact_pointer = strdup(pointer);
        memcpy(exact, text, len);
        ask(exact, len, exact_pointer);
        free(exact);
        free(exact_pointer);
    }
    REQUIRE(found > (unsigned long)iterations / 50); /* most of it was not refused at once */
    printf("json: %ld mutations, %lu values found\n", iterations, found);
    return 0;
}
