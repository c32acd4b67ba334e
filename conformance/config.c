/* config.c - slipstream.config/1, held against the config that the probe has read itself.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "instance.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum { FUNCTIONS = 10, SENTINEL = 0xA5, SMALL = 16, DEPTH = 6 };

enum { TYPE_AT, KEY_AT, BOOL, I64, U64, F64, TEXT, JSON, CONFIG_DIR, DATA_DIR };
static const char *const function_names[FUNCTIONS] = {
    "type_at", "key_at",   "get_bool", "get_i64",    "get_u64",
    "get_f64", "get_text", "get_json", "config_dir", "data_dir"};

/* What all functions say of one pointer. */
typedef struct answers {
    int32_t status[FUNCTIONS];
    uint32_t type, truth;
    size_t count;
    int64_t i64;
    uint64_t u64;
    double f64;
} answers;

static bool is_untouched(const void *bytes, size_t len) {
    for (size_t i = 0; i < len; i++)
        if (((const uint8_t *)bytes)[i] != SENTINEL)
            return false;
    return true;
}

/* Asks all ten functions, with outputs that are full of a sentinel. */
static void ask(probe *self, const char *pointer, answers *out) {
    const slipstream_config_v1 *config = extension(self, SLIPSTREAM_EXT_CONFIG);
    void *ctx = self->copy.ctx;
    char buffer[5][SMALL];
    size_t len[5] = {SMALL, SMALL, SMALL, SMALL, SMALL};
    memset(out, SENTINEL, sizeof *out);
    memset(buffer, SENTINEL, sizeof buffer);
    ASK(out->status[TYPE_AT], config->type_at(ctx, pointer, &out->type, &out->count));
    ASK(out->status[KEY_AT], config->key_at(ctx, pointer, 0, buffer[0], &len[0]));
    ASK(out->status[BOOL], config->get_bool(ctx, pointer, &out->truth));
    ASK(out->status[I64], config->get_i64(ctx, pointer, &out->i64));
    ASK(out->status[U64], config->get_u64(ctx, pointer, &out->u64));
    ASK(out->status[F64], config->get_f64(ctx, pointer, &out->f64));
    ASK(out->status[TEXT], config->get_text(ctx, pointer, buffer[1], &len[1]));
    ASK(out->status[JSON], config->get_json(ctx, pointer, buffer[2], &len[2]));
    ASK(out->status[CONFIG_DIR], config->config_dir(ctx, buffer[3], &len[3]));
    ASK(out->status[DATA_DIR], config->data_dir(ctx, buffer[4], &len[4]));
    const struct {
        int function;
        const void *bytes;
        size_t len;
    } outputs[] = {{TYPE_AT, &out->type, sizeof out->type},
                   {TYPE_AT, &out->count, sizeof(size_t)},
                   {BOOL, &out->truth, sizeof out->truth},
                   {I64, &out->i64, 8},
                   {U64, &out->u64, 8},
                   {F64, &out->f64, 8},
                   {KEY_AT, buffer[0], SMALL},
                   {TEXT, buffer[1], SMALL},
                   {JSON, buffer[2], SMALL},
                   {CONFIG_DIR, buffer[3], SMALL},
                   {DATA_DIR, buffer[4], SMALL}};
    static const int with_len[] = {KEY_AT, TEXT, JSON, CONFIG_DIR, DATA_DIR};
    for (size_t i = 0; i < sizeof outputs / sizeof outputs[0]; i++)
        check(self, CONFIG_UNTOUCHED,
              out->status[outputs[i].function] == SLIPSTREAM_OK ||
                  is_untouched(outputs[i].bytes, outputs[i].len),
              "%s(\"%s\") gave %d and wrote", function_names[outputs[i].function], pointer,
              (int)out->status[outputs[i].function]);
    for (size_t i = 0; i < sizeof with_len / sizeof with_len[0]; i++) {
        const int32_t status = out->status[with_len[i]];
        check(self, CONFIG_UNTOUCHED,
              status == SLIPSTREAM_OK || status == SLIPSTREAM_TOO_LARGE || len[i] == SMALL,
              "%s(\"%s\") gave %d and changed *len", function_names[with_len[i]], pointer,
              (int)status);
    }
}

/* All functions that look at a pointer give this status. */
static void expect_all(probe *self, probe_check_id id, const char *pointer, int32_t expected) {
    answers all;
    ask(self, pointer, &all);
    for (int i = 0; i < CONFIG_DIR; i++)
        check(self, id, all.status[i] == expected, "%s(\"%s\") gave %d, not %d", function_names[i],
              pointer, (int)all.status[i], (int)expected);
}

/* ---- Texts into buffers ------------------------------------------------------------- */

static int32_t text_of(probe *self, int function, const char *pointer, size_t index, char *buffer,
                       size_t *len) {
    const slipstream_config_v1 *config = extension(self, SLIPSTREAM_EXT_CONFIG);
    void *ctx = self->copy.ctx;
    int32_t status;
    in_host++;
    status = function == KEY_AT       ? config->key_at(ctx, pointer, index, buffer, len)
             : function == TEXT       ? config->get_text(ctx, pointer, buffer, len)
             : function == JSON       ? config->get_json(ctx, pointer, buffer, len)
             : function == CONFIG_DIR ? config->config_dir(ctx, buffer, len)
                                      : config->data_dir(ctx, buffer, len);
    in_host--;
    return status;
}

/* The text, in memory of the caller's; NULL if it is not there. Without a buffer, with one that is
 * a byte too small, and with one that fits and has more room behind it. */
static char *take_text(probe *self, int function, const char *pointer, size_t index, size_t *len) {
    const char *name = function_names[function];
    size_t need = 0, got;
    int32_t status = text_of(self, function, pointer, index, NULL, &need);
    if (status != SLIPSTREAM_OK && status != SLIPSTREAM_TOO_LARGE)
        return NULL;
    check(self, CONFIG_BUFFER, (status == SLIPSTREAM_TOO_LARGE) == (need > 0) && need < 1 << 24,
          "%s(\"%s\") without a buffer gave %d, and %zu is needed", name, pointer, (int)status,
          need);
    char *text = need < 1 << 24 ? malloc(need + 16) : NULL;
    if (text == NULL)
        return NULL;
    memset(text, SENTINEL, need + 16);
    if (need > 0) {
        got = need - 1;
        status = text_of(self, function, pointer, index, text, &got);
        check(self, CONFIG_BUFFER, status == SLIPSTREAM_TOO_LARGE && got == need,
              "%s(\"%s\") with %zu bytes of %zu gave %d, and said %zu", name, pointer, need - 1,
              need, (int)status, got);
        check(self, CONFIG_UNTOUCHED, is_untouched(text, need + 16),
              "%s(\"%s\") wrote into a buffer that is too small", name, pointer);
        memset(text, SENTINEL, need + 16);
    }
    got = need;
    status = text_of(self, function, pointer, index, text, &got);
    check(self, CONFIG_BUFFER, status == SLIPSTREAM_OK && got == need,
          "%s(\"%s\") with %zu bytes gave %d, and said %zu", name, pointer, need, (int)status, got);
    check(self, CONFIG_BUFFER, is_untouched(text + need, 16), "%s(\"%s\") wrote behind its text",
          name, pointer);
    *len = need;
    return text;
}

static void check_folder(probe *self, int function) {
    size_t len = 0;
    struct stat info;
    char *path = take_text(self, function, "", 0, &len);
    if (path == NULL)
        return;
    path[len] = '\0';
    check(self, CONFIG_FOLDER, path[0] == '/' && stat(path, &info) == 0 && S_ISDIR(info.st_mode),
          "%s gave \"%s\"", function_names[function], path);
    free(path);
}

/* ---- Values ------------------------------------------------------------------------- */

static void check_number(probe *self, const char *pointer, const json *value, const answers *all) {
    char text[TEXT_ROOM] = "";
    const size_t len = (size_t)(value->end - value->start);
    if (len >= 64)
        return;
    memcpy(text, value->start, len);
    const double real = strtod(text, NULL);
    check(self, CONFIG_NUMBER, all->status[F64] == SLIPSTREAM_OK && all->f64 == real,
          "get_f64(\"%s\") of %s gave %d", pointer, text, (int)all->status[F64]);
    if (json_is_integer(value) && strlen(text) < 19) { /* fits both, but for its sign */
        const int64_t whole = strtoll(text, NULL, 10);
        const int32_t as_u64 = whole < 0 ? SLIPSTREAM_OUT_OF_RANGE : SLIPSTREAM_OK;
        check(self, CONFIG_NUMBER, all->status[I64] == SLIPSTREAM_OK && all->i64 == whole,
              "get_i64(\"%s\") of %s gave %d", pointer, text, (int)all->status[I64]);
        check(self, CONFIG_NUMBER,
              all->status[U64] == as_u64 && (whole < 0 || all->u64 == (uint64_t)whole),
              "get_u64(\"%s\") of %s gave %d", pointer, text, (int)all->status[U64]);
    } else if (strcmp(text, "18446744073709551615") == 0) {
        check(self, CONFIG_NUMBER,
              all->status[U64] == SLIPSTREAM_OK && all->u64 == UINT64_MAX &&
                  all->status[I64] == SLIPSTREAM_OUT_OF_RANGE,
              "get_u64(\"%s\") of %s gave %d, get_i64 %d", pointer, text, (int)all->status[U64],
              (int)all->status[I64]);
    } else if (real > -1e15 && real < 1e15 && (double)(int64_t)real != real) {
        check(self, CONFIG_NUMBER,
              all->status[I64] == SLIPSTREAM_WRONG_TYPE &&
                  all->status[U64] == SLIPSTREAM_WRONG_TYPE,
              "get_i64(\"%s\") of %s gave %d, get_u64 %d", pointer, text, (int)all->status[I64],
              (int)all->status[U64]);
    }
}

static void check_text(probe *self, int function, const char *pointer, size_t index,
                       const json *value) {
    size_t len = 0;
    char *expected = malloc((size_t)(value->end - value->start));
    char *text = take_text(self, function, pointer, index, &len);
    if (expected != NULL) {
        const size_t expected_len = json_unescape(value, expected);
        check(self, function == KEY_AT ? CONFIG_KEY : CONFIG_TEXT,
              text != NULL && len == expected_len && memcmp(text, expected, len) == 0,
              "%s(\"%s\", %zu) is not what config has", function_names[function], pointer, index);
    }
    free(expected);
    free(text);
}

static void check_json(probe *self, const char *pointer, const json *value) {
    size_t len = 0;
    json found;
    char *text = take_text(self, JSON, pointer, 0, &len);
    check(self, CONFIG_JSON,
          text != NULL && json_parse(text, len, &found) && json_hash(&found) == json_hash(value),
          "get_json(\"%s\") is not what config has", pointer);
    free(text);
}

/* The pointer of a child, in `room` bytes; false if it does not fit, or has a NUL in it. */
static bool point_at(const char *pointer, const json *key, size_t index, char *out, size_t room) {
    char name[TEXT_ROOM];
    int at = snprintf(out, room, "%s/", pointer);
    if (key == NULL)
        return snprintf(out + at, room - (size_t)at, "%zu", index) > 0;
    if ((size_t)(key->end - key->start) >= sizeof name)
        return false;
    const size_t len = json_unescape(key, name);
    for (size_t i = 0; i < len && (size_t)at + 3 < room; i++) {
        if (name[i] == '\0')
            return false;
        at += name[i] == '~'   ? snprintf(out + at, room - (size_t)at, "~0")
              : name[i] == '/' ? snprintf(out + at, room - (size_t)at, "~1")
                               : snprintf(out + at, room - (size_t)at, "%c", name[i]);
    }
    return (size_t)at + 3 < room;
}

static void check_value(probe *self, const char *pointer, const json *value, int depth) {
    static const uint32_t wanted[] = {0,
                                      SLIPSTREAM_JSON_OBJECT,
                                      SLIPSTREAM_JSON_BOOL,
                                      SLIPSTREAM_JSON_NUMBER,
                                      SLIPSTREAM_JSON_NUMBER,
                                      SLIPSTREAM_JSON_NUMBER,
                                      SLIPSTREAM_JSON_TEXT};
    const bool is_object = value->type == SLIPSTREAM_JSON_OBJECT;
    char below[TEXT_ROOM];
    answers all;
    json key, child;
    ask(self, pointer, &all);
    check(self, CONFIG_TYPE,
          all.status[TYPE_AT] == SLIPSTREAM_OK && all.type == value->type &&
              all.count == value->count,
          "type_at(\"%s\") gave %d, type %u, count %zu; it is type %u, count %zu", pointer,
          (int)all.status[TYPE_AT], (unsigned)all.type, all.count, (unsigned)value->type,
          value->count);
    for (int i = KEY_AT; i < JSON; i++)
        check(self, CONFIG_WRONG_TYPE,
              value->type == wanted[i] || all.status[i] == SLIPSTREAM_WRONG_TYPE,
              "%s(\"%s\") gave %d", function_names[i], pointer, (int)all.status[i]);
    check_json(self, pointer, value);
    if (value->type == SLIPSTREAM_JSON_NUMBER)
        check_number(self, pointer, value, &all);
    if (value->type == SLIPSTREAM_JSON_TEXT)
        check_text(self, TEXT, pointer, 0, value);
    if (value->type == SLIPSTREAM_JSON_BOOL)
        check(self, CONFIG_BOOL,
              all.status[BOOL] == SLIPSTREAM_OK && all.truth == (*value->start == 't'),
              "get_bool(\"%s\") gave %d", pointer, (int)all.status[BOOL]);
    for (size_t i = 0; depth < DEPTH && json_child(value, i, &key, &child); i++) {
        if (is_object)
            check_text(self, KEY_AT, pointer, i, &key);
        if (point_at(pointer, is_object ? &key : NULL, i, below, sizeof below))
            check_value(self, below, &child, depth + 1);
    }
    if (is_object) {
        size_t len = 0;
        const int32_t status = text_of(self, KEY_AT, pointer, value->count, NULL, &len);
        check(self, CONFIG_KEY, status == SLIPSTREAM_NOT_FOUND, "key_at(\"%s\", %zu) gave %d",
              pointer, value->count, (int)status);
    }
}

void check_config_extension(probe *self, const json *config) {
    if (extension(self, SLIPSTREAM_EXT_CONFIG) == NULL)
        return;
    check_value(self, "", config, 0);
    expect_all(self, CONFIG_MISSING, "/no such key in the config of a probe", SLIPSTREAM_NOT_FOUND);
    expect_all(self, CONFIG_MISSING, "/report/0/below", SLIPSTREAM_NOT_FOUND);
    expect_all(self, CONFIG_POINTER, "report", SLIPSTREAM_INVALID_ARGUMENT);
    expect_all(self, CONFIG_POINTER, "/report~", SLIPSTREAM_INVALID_ARGUMENT);
    expect_all(self, CONFIG_POINTER, "/~2", SLIPSTREAM_INVALID_ARGUMENT);
    check_folder(self, CONFIG_DIR);
    check_folder(self, DATA_DIR);
}

void check_config_state(probe *self, const char *where) {
    answers all;
    if (extension(self, SLIPSTREAM_EXT_CONFIG) == NULL)
        return;
    ask(self, "/report", &all);
    for (int i = 0; i < FUNCTIONS; i++)
        check(self, CONFIG_STATE, all.status[i] == SLIPSTREAM_WRONG_STATE, "in %s %s gave %d",
              where, function_names[i], (int)all.status[i]);
}
