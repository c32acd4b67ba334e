/* SPDX-License-Identifier: Apache-2.0 */
#define _XOPEN_SOURCE 700
#include "config.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

int config_is_open;
static char **pairs;
static char folder_path[PATH_MAX];

int config_take(char **given) {
    size_t len = 0;
    pairs = given;
    for (; *given != NULL; given++) {
        if (strchr(*given, '=') == NULL || strpbrk(*given, "\"\\\n") != NULL)
            return 0;
        len += strlen(*given) + 8;
    }
    return len < CONFIG_MAX / 2 && getcwd(folder_path, sizeof folder_path) != NULL;
}

static int is_number(const char *value) {
    return value[0] != '\0' && strspn(value, "0123456789") == strlen(value);
}

/* The config as JSON. A real host escapes; this one takes no value that would need it. */
void config_write(char *json, const char *name, const char *path) {
    const size_t room = CONFIG_MAX;
    size_t at = (size_t)snprintf(json, room, "{\"name\": \"%s\", \"libpath\": \"%s\"",
                                 name, path);
    for (char **pair = pairs; *pair != NULL && at < room; pair++) {
        const int key = (int)strcspn(*pair, "=");
        const char *value = *pair + key + 1;
        const char *quote = is_number(value) ? "" : "\"";
        at += (size_t)snprintf(json + at, room - at, ", \"%.*s\": %s%s%s", key, *pair, quote, value,
                               quote);
    }
    if (at + 1 < room)
        memcpy(json + at, "}", 2);
}

static int32_t find(const char *pointer, const char **value, int as_number) {
    *value = NULL;
    if (!config_is_open)
        return SLIPSTREAM_WRONG_STATE;
    for (char **pair = pairs; pointer[0] == '/' && *pair != NULL; pair++) {
        const size_t key = strcspn(*pair, "=");
        if (strlen(pointer + 1) == key && strncmp(*pair, pointer + 1, key) == 0)
            *value = *pair + key + 1;
    }
    if (*value == NULL)
        return SLIPSTREAM_NOT_FOUND;
    return as_number == is_number(*value) ? SLIPSTREAM_OK : SLIPSTREAM_WRONG_TYPE;
}

static int32_t give(const char *text, char *buffer, size_t *len) {
    const size_t room = *len;
    *len = strlen(text);
    if (*len > room)
        return SLIPSTREAM_TOO_LARGE;
    memcpy(buffer, text, *len);
    return SLIPSTREAM_OK;
}

static int32_t type_at(void *ctx, const char *pointer, uint32_t *type, size_t *count) {
    const char *value;
    const int32_t status = pointer[0] == '\0' ? SLIPSTREAM_OK : find(pointer, &value, 0);
    (void)ctx;
    if (status != SLIPSTREAM_OK && status != SLIPSTREAM_WRONG_TYPE)
        return status;
    *type = status == SLIPSTREAM_OK ? SLIPSTREAM_JSON_TEXT : SLIPSTREAM_JSON_NUMBER;
    *count = status == SLIPSTREAM_OK && pointer[0] != '\0' ? strlen(value) : 0;
    if (pointer[0] == '\0')
        for (*type = SLIPSTREAM_JSON_OBJECT; pairs[*count] != NULL;)
            ++*count;
    return SLIPSTREAM_OK;
}

static int32_t key_at(void *ctx, const char *pointer, size_t index, char *buffer, size_t *len) {
    char key[64];
    (void)ctx;
    for (size_t i = 0; pairs[i] != NULL && pointer[0] == '\0'; i++)
        if (i == index) {
            snprintf(key, sizeof key, "%.*s", (int)strcspn(pairs[i], "="), pairs[i]);
            return give(key, buffer, len);
        }
    return SLIPSTREAM_NOT_FOUND;
}

static int32_t get_u64(void *ctx, const char *pointer, uint64_t *out) {
    const char *value;
    const int32_t status = find(pointer, &value, 1);
    (void)ctx;
    if (status == SLIPSTREAM_OK)
        *out = strtoull(value, NULL, 10);
    return status;
}

static int32_t get_i64(void *ctx, const char *pointer, int64_t *out) {
    uint64_t number = 0;
    const int32_t status = get_u64(ctx, pointer, &number);
    if (status == SLIPSTREAM_OK && number > INT64_MAX)
        return SLIPSTREAM_OUT_OF_RANGE;
    if (status == SLIPSTREAM_OK)
        *out = (int64_t)number;
    return status;
}

static int32_t get_f64(void *ctx, const char *pointer, double *out) {
    uint64_t number = 0;
    const int32_t status = get_u64(ctx, pointer, &number);
    if (status == SLIPSTREAM_OK)
        *out = (double)number;
    return status;
}

static int32_t get_bool(void *ctx, const char *pointer, uint32_t *out) {
    const char *value;
    const int32_t status = find(pointer, &value, 0);
    (void)ctx;
    (void)out;
    return status == SLIPSTREAM_OK ? SLIPSTREAM_WRONG_TYPE : status;
}

static int32_t get_text(void *ctx, const char *pointer, char *buffer, size_t *len) {
    const char *value;
    const int32_t status = find(pointer, &value, 0);
    (void)ctx;
    return status == SLIPSTREAM_OK ? give(value, buffer, len) : status;
}

static int32_t get_json(void *ctx, const char *pointer, char *buffer, size_t *len) {
    char json[PATH_MAX + 2];
    const char *value;
    const int32_t status = find(pointer, &value, 1);
    (void)ctx;
    if (status != SLIPSTREAM_OK && status != SLIPSTREAM_WRONG_TYPE)
        return status;
    snprintf(json, sizeof json, status == SLIPSTREAM_OK ? "%s" : "\"%s\"", value);
    return give(json, buffer, len);
}

static int32_t folder(void *ctx, char *buffer, size_t *len) {
    (void)ctx;
    return config_is_open ? give(folder_path, buffer, len) : SLIPSTREAM_WRONG_STATE;
}

const slipstream_config_v1 *config_table(void) {
    static const slipstream_config_v1 config = {
        sizeof config, 0, type_at, key_at, get_bool, get_i64, get_u64, get_f64, get_text, get_json,
        folder, folder};
    return &config;
}
