#include "plugin/host_config.h"

#include "plugin/host.h"

#include <stdlib.h>
#include <string.h>

static bool lies_in(ss_span span, size_t len) {
    return span.at <= len && span.len <= len - span.at;
}

/* Children lie behind their parent, so that no way through them ends where it began. */
static bool is_sound(const ss_packed_entry *entry, uint32_t index, uint32_t count, size_t json_len,
                     size_t texts_len) {
    return entry->type <= SLIPSTREAM_JSON_OBJECT && lies_in(entry->json, json_len) &&
           lies_in(entry->token, texts_len) && lies_in(entry->key, texts_len) &&
           lies_in(entry->text, texts_len) &&
           (entry->count == 0 ||
            (entry->first > index && entry->first < count && entry->count <= count - entry->first));
}

bool ss_host_config_open(ss_host_config *config, char *packed, size_t len) {
    ss_packed_head head;
    if (len < sizeof head)
        return false;
    memcpy(&head, packed, sizeof head);
    const uint64_t entries_end = sizeof head + (uint64_t)head.count * sizeof(ss_packed_entry);
    if (head.count == 0 || entries_end > len || head.json_len >= len - entries_end)
        return false;
    config->packed = packed;
    config->packed_len = len;
    config->entries = (const ss_packed_entry *)(const void *)(packed + sizeof head);
    config->json = packed + entries_end;
    config->json_len = head.json_len;
    config->texts = config->json + head.json_len + 1;
    const size_t texts_len = (size_t)(packed + len - config->texts);
    bool sound = config->json[head.json_len] == '\0';
    for (uint32_t i = 0; sound && i < head.count; i++)
        sound = is_sound(&config->entries[i], i, head.count, head.json_len, texts_len);
    if (!sound)
        ss_host_config_close(config);
    return sound;
}

void ss_host_config_close(ss_host_config *config) {
    ss_os_wipe(config->packed, config->packed_len);
    config->packed = NULL;
}

/* ---- Looking up ------------------------------------------------------------------------- */

static const ss_packed_entry *child(const ss_host_config *config, const ss_packed_entry *parent,
                                    const char *token, size_t len) {
    for (uint32_t i = 0; i < parent->count; i++) {
        const ss_packed_entry *entry = &config->entries[parent->first + i];
        if (entry->token.len == len && memcmp(config->texts + entry->token.at, token, len) == 0)
            return entry;
    }
    return NULL;
}

static int32_t find(const ss_host *host, const char *pointer, const ss_packed_entry **out) {
    const ss_host_config *config = &host->config;
    if (atomic_load_explicit(&host->life, memory_order_acquire) != SS_LOADING)
        return SLIPSTREAM_WRONG_STATE;
    if (pointer == NULL || (*pointer != '\0' && *pointer != '/'))
        return SLIPSTREAM_INVALID_ARGUMENT;
    for (const char *p = strchr(pointer, '~'); p != NULL; p = strchr(p + 1, '~'))
        if (p[1] != '0' && p[1] != '1')
            return SLIPSTREAM_INVALID_ARGUMENT;
    const ss_packed_entry *entry = config->entries;
    while (*pointer != '\0' && entry != NULL) {
        const size_t len = strcspn(pointer + 1, "/");
        entry = child(config, entry, pointer + 1, len);
        pointer += 1 + len;
    }
    *out = entry;
    return entry == NULL ? SLIPSTREAM_NOT_FOUND : SLIPSTREAM_OK;
}

static int32_t give(const char *text, size_t need, char *buffer, size_t *len) {
    if (len == NULL || (buffer == NULL && *len > 0))
        return SLIPSTREAM_INVALID_ARGUMENT;
    const bool fits = need <= *len;
    *len = need;
    if (fits && need > 0)
        memcpy(buffer, text, need);
    return fits ? SLIPSTREAM_OK : SLIPSTREAM_TOO_LARGE;
}

static int32_t type_at(void *ctx, const char *pointer, uint32_t *type, size_t *count) {
    const ss_packed_entry *entry;
    const int32_t status = find(ctx, pointer, &entry);
    if (status != SLIPSTREAM_OK)
        return status;
    if (type == NULL || count == NULL)
        return SLIPSTREAM_INVALID_ARGUMENT;
    *type = entry->type;
    *count = entry->type == SLIPSTREAM_JSON_TEXT ? entry->text.len : entry->count;
    return SLIPSTREAM_OK;
}

static int32_t key_at(void *ctx, const char *pointer, size_t index, char *buffer, size_t *len) {
    const ss_host_config *config = &((const ss_host *)ctx)->config;
    const ss_packed_entry *entry;
    const int32_t status = find(ctx, pointer, &entry);
    if (status != SLIPSTREAM_OK)
        return status;
    if (entry->type != SLIPSTREAM_JSON_OBJECT)
        return SLIPSTREAM_WRONG_TYPE;
    if (index >= entry->count)
        return SLIPSTREAM_NOT_FOUND;
    const ss_span key = config->entries[entry->first + index].key;
    return give(config->texts + key.at, key.len, buffer, len);
}

static int32_t get_bool(void *ctx, const char *pointer, uint32_t *out) {
    const ss_packed_entry *entry;
    const int32_t status = find(ctx, pointer, &entry);
    if (status != SLIPSTREAM_OK)
        return status;
    if (out == NULL)
        return SLIPSTREAM_INVALID_ARGUMENT;
    if (entry->type != SLIPSTREAM_JSON_BOOL)
        return SLIPSTREAM_WRONG_TYPE;
    *out = entry->whole != 0;
    return SLIPSTREAM_OK;
}

/* The three kinds of numbers are eight bytes each; `fits` says which one is wanted. */
static int32_t get_number(void *ctx, const char *pointer, uint32_t fits, void *out) {
    const ss_packed_entry *entry;
    const int32_t status = find(ctx, pointer, &entry);
    if (status != SLIPSTREAM_OK)
        return status;
    if (out == NULL)
        return SLIPSTREAM_INVALID_ARGUMENT;
    if (entry->type != SLIPSTREAM_JSON_NUMBER ||
        (fits != SS_FITS_F64 && (entry->fits & SS_IS_WHOLE) == 0))
        return SLIPSTREAM_WRONG_TYPE;
    if ((entry->fits & fits) == 0)
        return SLIPSTREAM_OUT_OF_RANGE;
    memcpy(out, fits == SS_FITS_F64 ? (const void *)&entry->real : &entry->whole, 8);
    return SLIPSTREAM_OK;
}

static int32_t get_i64(void *ctx, const char *pointer, int64_t *out) {
    return get_number(ctx, pointer, SS_FITS_I64, out);
}

static int32_t get_u64(void *ctx, const char *pointer, uint64_t *out) {
    return get_number(ctx, pointer, SS_FITS_U64, out);
}

static int32_t get_f64(void *ctx, const char *pointer, double *out) {
    return get_number(ctx, pointer, SS_FITS_F64, out);
}

static int32_t get_text(void *ctx, const char *pointer, char *buffer, size_t *len) {
    const ss_host *host = ctx;
    const ss_packed_entry *entry;
    const int32_t status = find(host, pointer, &entry);
    if (status != SLIPSTREAM_OK)
        return status;
    if (entry->type != SLIPSTREAM_JSON_TEXT)
        return SLIPSTREAM_WRONG_TYPE;
    return give(host->config.texts + entry->text.at, entry->text.len, buffer, len);
}

static int32_t get_json(void *ctx, const char *pointer, char *buffer, size_t *len) {
    const ss_host *host = ctx;
    const ss_packed_entry *entry;
    const int32_t status = find(host, pointer, &entry);
    if (status != SLIPSTREAM_OK)
        return status;
    return give(host->config.json + entry->json.at, entry->json.len, buffer, len);
}

/* ---- Folders ---------------------------------------------------------------------------- */

static int32_t folder(const ss_host *host, const char *path, char *buffer, size_t *len) {
    if (atomic_load_explicit(&host->life, memory_order_acquire) != SS_LOADING)
        return SLIPSTREAM_WRONG_STATE;
    return path == NULL ? SLIPSTREAM_NOT_FOUND : give(path, strlen(path), buffer, len);
}

static int32_t config_dir(void *ctx, char *buffer, size_t *len) {
    return folder(ctx, ((const ss_host *)ctx)->config.config_dir, buffer, len);
}

static int32_t data_dir(void *ctx, char *buffer, size_t *len) {
    return folder(ctx, ((const ss_host *)ctx)->config.data_dir, buffer, len);
}

const slipstream_config_v1 ss_host_config_table = {
    sizeof ss_host_config_table, 0,
    type_at, key_at,
    get_bool, get_i64, get_u64, get_f64,
    get_text, get_json,
    config_dir, data_dir,
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
