/* walker: asks slipstream.config/1 for everything that there is in its config, from the whole
 * down, and writes each answer to the file `out` of its config, in native byte order: the
 * pointer, type_at, then get_bool, get_i64, get_u64 and get_f64, each as a status and eight
 * bytes that were 7 before, then get_text and get_json. A text has its length before it. */
#include <slipstream.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { ROOM = 1 << 20, SEVEN = 7 };

static const slipstream_host *host;
static const slipstream_config_v1 *config;
static char buffer[ROOM];

static void put(FILE *out, const void *bytes, size_t len) {
    if (fwrite(bytes, 1, len, out) != len)
        abort();
}

static void put_text(FILE *out, const char *text, size_t len) {
    const uint32_t size = (uint32_t)len;
    put(out, &size, sizeof size);
    put(out, text, len);
}

static void put_answer(FILE *out, int32_t status, const void *value) {
    put(out, &status, sizeof status);
    put(out, value, 8);
}

static void put_answers(FILE *out, const char *pointer) {
    uint32_t flag[2] = {SEVEN, 0};
    int64_t i = SEVEN;
    uint64_t u = SEVEN;
    double f = SEVEN;
    size_t len = ROOM;
    int32_t status = config->get_bool(host->ctx, pointer, flag);
    put_answer(out, status, flag);
    status = config->get_i64(host->ctx, pointer, &i);
    put_answer(out, status, &i);
    status = config->get_u64(host->ctx, pointer, &u);
    put_answer(out, status, &u);
    status = config->get_f64(host->ctx, pointer, &f);
    put_answer(out, status, &f);
    status = config->get_text(host->ctx, pointer, buffer, &len);
    put(out, &status, sizeof status);
    put_text(out, buffer, status == SLIPSTREAM_OK ? len : 0);
    len = ROOM;
    if (config->get_json(host->ctx, pointer, buffer, &len) != SLIPSTREAM_OK)
        abort();
    put_text(out, buffer, len);
}

/* Appends a key as a reference token (RFC 6901, section 4). */
static void append_token(char *pointer, const char *key, size_t len) {
    char *at = pointer + strlen(pointer);
    *at++ = '/';
    for (size_t i = 0; i < len; i++) {
        const char *escaped = key[i] == '~' ? "~0" : key[i] == '/' ? "~1" : NULL;
        *at++ = escaped == NULL ? key[i] : escaped[0];
        if (escaped != NULL)
            *at++ = escaped[1];
    }
    *at = '\0';
}

static void walk(FILE *out, char *pointer) {
    uint32_t type = SEVEN;
    size_t count = SEVEN;
    if (config->type_at(host->ctx, pointer, &type, &count) != SLIPSTREAM_OK)
        abort();
    const uint64_t wide = count;
    put_text(out, pointer, strlen(pointer));
    put(out, &type, sizeof type);
    put(out, &wide, sizeof wide);
    put_answers(out, pointer);
    char *end = pointer + strlen(pointer);
    for (size_t i = 0; type >= SLIPSTREAM_JSON_ARRAY && i < count; i++) {
        char key[4096];
        size_t len = sizeof key;
        if (type == SLIPSTREAM_JSON_ARRAY)
            len = (size_t)snprintf(key, sizeof key, "%u", (unsigned)i);
        else if (config->key_at(host->ctx, pointer, i, key, &len) != SLIPSTREAM_OK)
            abort();
        if (memchr(key, '\0', len) != NULL)
            continue; /* no pointer leads there */
        append_token(pointer, key, len);
        walk(out, pointer);
        *end = '\0';
    }
}

static int32_t on_load(void *instance, const char *json, size_t len, uint32_t reason) {
    char path[4096];
    char pointer[ROOM] = "";
    size_t path_len = sizeof path - 1;
    (void)instance;
    (void)reason;
    config = slipstream_extension(host, SLIPSTREAM_EXT_CONFIG);
    if (config->get_text(host->ctx, "/out", path, &path_len) != SLIPSTREAM_OK)
        return slipstream_fail(host, SLIPSTREAM_INVALID_CONFIG, "out is missing");
    path[path_len] = '\0';
    FILE *out = fopen(path, "wb");
    if (out == NULL)
        return slipstream_fail(host, SLIPSTREAM_IO, "out cannot be written");
    put_text(out, json, len);
    walk(out, pointer);
    return fclose(out) == 0 ? SLIPSTREAM_OK : SLIPSTREAM_IO;
}

static void destroy(void *instance) {
    (void)instance;
}

const slipstream_plugin *slipstream_create_plugin_v1(const slipstream_host *given) {
    static const slipstream_plugin table = {
        sizeof table, SLIPSTREAM_ABI_MINOR, 0, SLIPSTREAM_FLAG_MULTI_INSTANCE, NULL, "walker", "1",
        destroy, on_load, NULL, NULL, NULL, NULL, NULL};
    host = given;
    return &table;
}
