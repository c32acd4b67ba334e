/* SPDX-License-Identifier: Apache-2.0 */
#define _XOPEN_SOURCE 700
#include "config.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

int config_is_open;
static char **pairs;
static char folder_path[PATH_MAX];
static const char *own[2]; /* the name and the library's path, in front of the pairs */

int config_take(char **given) {
    size_t len = 0;
    pairs = given;
    for (; *given != NULL; given++) {
        const size_t key = strcspn(*given, "=");
        if ((*given)[key] == '\0' || strcspn(*given, "~/") < key || strpbrk(*given, "\"\\\n") != NULL)
            return 0;
        len += strlen(*given) + 8;
    }
    return len < CONFIG_MAX / 2 && getcwd(folder_path, sizeof folder_path) != NULL;
}

static int is_number(const char *value) {
    return value[0] != '\0' && strspn(value, "0123456789") == strlen(value) &&
           (value[0] != '0' || value[1] == '\0');
}

/* Member `index` of the config: its key, which ends at *key_len, and its value. NULL: no more. */
static const char *member(size_t index, size_t *key_len, const char **value) {
    static const char *const keys[] = {"name", "libpath"};
    if (index < 2) {
        *key_len = strlen(keys[index]);
        *value = own[index];
        return keys[index];
    }
    for (size_t i = 0; i < index - 2; i++)
        if (pairs[i] == NULL)
            return NULL;
    if (pairs[index - 2] == NULL)
        return NULL;
    *key_len = strcspn(pairs[index - 2], "=");
    *value = pairs[index - 2] + *key_len + 1;
    return pairs[index - 2];
}

static size_t text_as_json(const char *value, char *json, size_t room) {
    const char *quote = is_number(value) ? "" : "\"";
    return (size_t)snprintf(json, room, "%s%s%s", quote, value, quote);
}

static size_t all_as_json(char *json, size_t room) {
    const char *key, *value;
    size_t len;
    size_t at = 0;
    for (size_t i = 0; (key = member(i, &len, &value)) != NULL && at < room; i++) {
        at += (size_t)snprintf(json + at, room - at, "%s\"%.*s\": ", i == 0 ? "{" : ", ", (int)len,
                               key);
        at += at < room ? text_as_json(value, json + at, room - at) : 0;
    }
    return at + 1 < room ? at + (size_t)snprintf(json + at, room - at, "}") : at;
}

/* The config as JSON. A real host escapes; this one takes no value that would need it. */
void config_write(char *json, const char *name, const char *path) {
    own[0] = name;
    own[1] = path;
    all_as_json(json, CONFIG_MAX);
}

/* What a JSON pointer points at; of the whole config the value is NULL. */
static int32_t find(const char *pointer, uint32_t *type, const char **value) {
    const char *key;
    size_t len;
    *value = NULL;
    *type = SLIPSTREAM_JSON_OBJECT;
    if (!config_is_open)
        return SLIPSTREAM_WRONG_STATE;
    if (pointer[0] != '\0' && pointer[0] != '/')
        return SLIPSTREAM_INVALID_ARGUMENT;
    for (const char *p = strchr(pointer, '~'); p != NULL; p = strchr(p + 1, '~'))
        if (p[1] != '0' && p[1] != '1')
            return SLIPSTREAM_INVALID_ARGUMENT;
    if (pointer[0] == '\0')
        return SLIPSTREAM_OK;
    for (size_t i = 0; (key = member(i, &len, value)) != NULL; i++)
        if (strlen(pointer + 1) == len && strncmp(key, pointer + 1, len) == 0) {
            *type = is_number(*value) ? SLIPSTREAM_JSON_NUMBER : SLIPSTREAM_JSON_TEXT;
            return SLIPSTREAM_OK;
        }
    return SLIPSTREAM_NOT_FOUND;
}

static int32_t find_of_type(const char *pointer, uint32_t wanted, const char **value) {
    uint32_t type;
    const int32_t status = find(pointer, &type, value);
    return status == SLIPSTREAM_OK && type != wanted ? SLIPSTREAM_WRONG_TYPE : status;
}

static int32_t give(const char *text, size_t need, char *buffer, size_t *len) {
    const size_t room = *len;
    *len = need;
    if (need > room)
        return SLIPSTREAM_TOO_LARGE;
    if (need > 0)
        memcpy(buffer, text, need);
    return SLIPSTREAM_OK;
}

static int32_t type_at(void *ctx, const char *pointer, uint32_t *type, size_t *count) {
    uint32_t found;
    size_t len;
    const char *value;
    const int32_t status = find(pointer, &found, &value);
    (void)ctx;
    if (status != SLIPSTREAM_OK)
        return status;
    *type = found;
    *count = found == SLIPSTREAM_JSON_TEXT ? strlen(value) : 0;
    if (found == SLIPSTREAM_JSON_OBJECT)
        while (member(*count, &len, &value) != NULL)
            ++*count;
    return SLIPSTREAM_OK;
}

static int32_t key_at(void *ctx, const char *pointer, size_t index, char *buffer, size_t *len) {
    const char *key, *value;
    size_t key_len;
    const int32_t status = find_of_type(pointer, SLIPSTREAM_JSON_OBJECT, &value);
    (void)ctx;
    if (status != SLIPSTREAM_OK)
        return status;
    key = member(index, &key_len, &value);
    return key == NULL ? SLIPSTREAM_NOT_FOUND : give(key, key_len, buffer, len);
}

static int32_t get_u64(void *ctx, const char *pointer, uint64_t *out) {
    const char *value;
    const int32_t status = find_of_type(pointer, SLIPSTREAM_JSON_NUMBER, &value);
    (void)ctx;
    if (status != SLIPSTREAM_OK)
        return status;
    errno = 0;
    const uint64_t number = strtoull(value, NULL, 10);
    if (errno != 0)
        return SLIPSTREAM_OUT_OF_RANGE;
    *out = number;
    return SLIPSTREAM_OK;
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
    const char *value;
    const int32_t status = find_of_type(pointer, SLIPSTREAM_JSON_NUMBER, &value);
    (void)ctx;
    if (status == SLIPSTREAM_OK)
        *out = strtod(value, NULL);
    return status;
}

static int32_t get_bool(void *ctx, const char *pointer, uint32_t *out) {
    const char *value;
    (void)ctx;
    (void)out;
    return find_of_type(pointer, SLIPSTREAM_JSON_BOOL, &value); /* no pair is one */
}

static int32_t get_text(void *ctx, const char *pointer, char *buffer, size_t *len) {
    const char *value;
    const int32_t status = find_of_type(pointer, SLIPSTREAM_JSON_TEXT, &value);
    (void)ctx;
    return status == SLIPSTREAM_OK ? give(value, strlen(value), buffer, len) : status;
}

static int32_t get_json(void *ctx, const char *pointer, char *buffer, size_t *len) {
    static char json[CONFIG_MAX]; /* used inside of on_load only, by one thread */
    const char *value;
    uint32_t type;
    const int32_t status = find(pointer, &type, &value);
    (void)ctx;
    if (status != SLIPSTREAM_OK)
        return status;
    return give(json, value == NULL ? all_as_json(json, sizeof json)
                                    : text_as_json(value, json, sizeof json), buffer, len);
}

static int32_t folder(void *ctx, char *buffer, size_t *len) {
    (void)ctx;
    if (!config_is_open)
        return SLIPSTREAM_WRONG_STATE;
    return give(folder_path, strlen(folder_path), buffer, len);
}

const slipstream_config_v1 *config_table(void) {
    static const slipstream_config_v1 config = {
        sizeof config, 0, type_at, key_at, get_bool, get_i64, get_u64, get_f64, get_text, get_json,
        folder, folder};
    return &config;
}
