#include "plugin/host_config.h"

#include "plugin/host.h"
#include "plugin/json.h"

#include <stdlib.h>
#include <string.h>

static int32_t find(ss_host *host, const char *pointer, ss_json *value) {
    if (atomic_load_explicit(&host->life, memory_order_acquire) != SS_LOADING)
        return SLIPSTREAM_WRONG_STATE;
    return ss_json_find(host->config.text, host->config.len, pointer, value);
}

/* Does a text of `need` bytes fit into the caller's buffer? Sets *len in any case. */
static int32_t check_room(size_t need, const char *buffer, size_t *len) {
    if (len == NULL || (buffer == NULL && *len > 0))
        return SLIPSTREAM_INVALID_ARGUMENT;
    const bool fits = need <= *len;
    *len = need;
    return fits ? SLIPSTREAM_OK : SLIPSTREAM_TOO_LARGE;
}

static int32_t give_plain(const char *text, size_t need, char *buffer, size_t *len) {
    const int32_t status = check_room(need, buffer, len);
    if (status == SLIPSTREAM_OK && need > 0)
        memcpy(buffer, text, need);
    return status;
}

static int32_t give_text(const ss_json *text, char *buffer, size_t *len) {
    const int32_t status = check_room(ss_json_text(text, NULL), buffer, len);
    if (status == SLIPSTREAM_OK && buffer != NULL)
        ss_json_text(text, buffer);
    return status;
}

static int32_t config_type_at(void *ctx, const char *pointer, uint32_t *type, size_t *count) {
    ss_json value;
    const int32_t status = find(ctx, pointer, &value);
    if (status != SLIPSTREAM_OK)
        return status;
    if (type == NULL || count == NULL)
        return SLIPSTREAM_INVALID_ARGUMENT;
    *type = value.type;
    *count = ss_json_count(&value);
    return SLIPSTREAM_OK;
}

static int32_t config_key_at(void *ctx, const char *pointer, size_t index, char *buffer,
                             size_t *len) {
    ss_json value;
    ss_json key;
    int32_t status = find(ctx, pointer, &value);
    if (status == SLIPSTREAM_OK)
        status = ss_json_key(&value, index, &key);
    return status == SLIPSTREAM_OK ? give_text(&key, buffer, len) : status;
}

static int32_t config_get_bool(void *ctx, const char *pointer, uint32_t *out) {
    ss_json value;
    const int32_t status = find(ctx, pointer, &value);
    if (status != SLIPSTREAM_OK)
        return status;
    if (out == NULL)
        return SLIPSTREAM_INVALID_ARGUMENT;
    if (value.type != SLIPSTREAM_JSON_BOOL)
        return SLIPSTREAM_WRONG_TYPE;
    *out = value.text[0] == 't';
    return SLIPSTREAM_OK;
}

static int32_t config_get_i64(void *ctx, const char *pointer, int64_t *out) {
    ss_json value;
    const int32_t status = find(ctx, pointer, &value);
    if (status != SLIPSTREAM_OK)
        return status;
    return out == NULL ? SLIPSTREAM_INVALID_ARGUMENT : ss_json_i64(&value, out);
}

static int32_t config_get_u64(void *ctx, const char *pointer, uint64_t *out) {
    ss_json value;
    const int32_t status = find(ctx, pointer, &value);
    if (status != SLIPSTREAM_OK)
        return status;
    return out == NULL ? SLIPSTREAM_INVALID_ARGUMENT : ss_json_u64(&value, out);
}

static int32_t config_get_f64(void *ctx, const char *pointer, double *out) {
    ss_json value;
    const int32_t status = find(ctx, pointer, &value);
    if (status != SLIPSTREAM_OK)
        return status;
    return out == NULL ? SLIPSTREAM_INVALID_ARGUMENT : ss_json_f64(&value, out);
}

static int32_t config_get_text(void *ctx, const char *pointer, char *buffer, size_t *len) {
    ss_json value;
    const int32_t status = find(ctx, pointer, &value);
    if (status != SLIPSTREAM_OK)
        return status;
    if (value.type != SLIPSTREAM_JSON_TEXT)
        return SLIPSTREAM_WRONG_TYPE;
    return give_text(&value, buffer, len);
}

static int32_t config_get_json(void *ctx, const char *pointer, char *buffer, size_t *len) {
    ss_json value;
    const int32_t status = find(ctx, pointer, &value);
    return status == SLIPSTREAM_OK ? give_plain(value.text, value.len, buffer, len) : status;
}

static int32_t folder(ss_host *host, const char *path, char *buffer, size_t *len) {
    if (atomic_load_explicit(&host->life, memory_order_acquire) != SS_LOADING)
        return SLIPSTREAM_WRONG_STATE;
    return path == NULL ? SLIPSTREAM_NOT_FOUND : give_plain(path, strlen(path), buffer, len);
}

static int32_t config_config_dir(void *ctx, char *buffer, size_t *len) {
    ss_host *host = ctx;
    return folder(host, host->config.config_dir, buffer, len);
}

static int32_t config_data_dir(void *ctx, char *buffer, size_t *len) {
    ss_host *host = ctx;
    return folder(host, host->config.data_dir, buffer, len);
}

const slipstream_config_v1 ss_host_config_table = {
    sizeof ss_host_config_table,
    0,
    config_type_at,
    config_key_at,
    config_get_bool,
    config_get_i64,
    config_get_u64,
    config_get_f64,
    config_get_text,
    config_get_json,
    config_config_dir,
    config_data_dir,
};

int32_t ss_host_config_keep_dir(char **dir, const char *path) {
    char *copy = path == NULL ? NULL : strdup(path);
    if (path != NULL && copy == NULL)
        return SLIPSTREAM_NO_MEMORY;
    free(*dir);
    *dir = copy;
    return SLIPSTREAM_OK;
}

void ss_host_config_free(ss_host_config *config) {
    free(config->config_dir);
    free(config->data_dir);
}
