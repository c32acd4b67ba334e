#include "plugin/host.h"

#include "base/lock.h"
#include "base/text.h"
#include "frame/frame.h"
#include "plugin/instance.h" /* ss_status_name */
#include "plugin/json.h"

#include <stdlib.h>
#include <string.h>

#ifndef SS_VERSION
#define SS_VERSION "0"
#endif

static void misbehaved(ss_host *host, const char *what) {
    ss_log_queue_format(host->log, SLIPSTREAM_LOG_PLUGIN_MISBEHAVING, host->log_id, "%s", what);
}

static int32_t host_log_enabled(void *ctx, uint32_t level) {
    const ss_host *host = ctx;
    return ss_log_queue_wants(host->log, level);
}

static void host_log(void *ctx, uint32_t level, const char *text, size_t len) {
    ss_host *host = ctx;
    if (level >= SLIPSTREAM_LOG_PLUGIN_MISBEHAVING) {
        misbehaved(host, "log called with a level that a plugin may not use");
        level = SLIPSTREAM_LOG_ERROR;
    }
    if (text == NULL) {
        misbehaved(host, "log called with a text that is NULL");
        return;
    }
    ss_log_queue_put(host->log, level, host->log_id, text, len);
}

static void host_set_error(void *ctx, const char *text, size_t len) {
    ss_host *host = ctx;
    if (text == NULL) {
        misbehaved(host, "set_error called with a text that is NULL");
        return;
    }
    if (atomic_load_explicit(&host->caller, memory_order_relaxed) != ss_self()) {
        ss_log_queue_format(host->log, SLIPSTREAM_LOG_PLUGIN_MISBEHAVING, host->log_id,
                            "set_error called outside of a call of the host: %.*s",
                            (int)(len < 1024 ? len : 1024), text);
        return;
    }
    host->error_len = len < SLIPSTREAM_ERROR_MAX ? len : SLIPSTREAM_ERROR_MAX;
    memcpy(host->error, text, host->error_len);
}

void ss_host_raise_acked(ss_host *host, uint64_t ordinal) {
    uint64_t acked = atomic_load_explicit(&host->acked, memory_order_relaxed);
    while (ordinal > acked && !atomic_compare_exchange_weak_explicit(&host->acked, &acked, ordinal,
                                                                     memory_order_release,
                                                                     memory_order_relaxed)) {
    }
}

static int32_t host_ack(void *ctx, uint64_t ordinal) {
    ss_host *host = ctx;
    const uint32_t life = atomic_load_explicit(&host->life, memory_order_acquire);
    if (life != SS_LOADED && life != SS_UNLOADING)
        return SLIPSTREAM_WRONG_STATE;
    if (!atomic_load_explicit(&host->explicit_ack, memory_order_relaxed)) {
        misbehaved(host, "ack called without SLIPSTREAM_FLAG_EXPLICIT_ACK");
        return SLIPSTREAM_INVALID_ARGUMENT;
    }
    const uint64_t delivered = atomic_load_explicit(&host->delivered, memory_order_acquire);
    if (ordinal > delivered) {
        ss_log_queue_format(host->log, SLIPSTREAM_LOG_PLUGIN_MISBEHAVING, host->log_id,
                            "ack of ordinal %llu, but the last delivered one is %llu",
                            (unsigned long long)ordinal, (unsigned long long)delivered);
        return SLIPSTREAM_INVALID_ARGUMENT;
    }
    ss_host_raise_acked(host, ordinal);
    ss_lock_take(&host->ack_lock);
    if (host->on_ack != NULL)
        host->on_ack(host->ack_context, ordinal);
    ss_lock_release(&host->ack_lock);
    return SLIPSTREAM_OK;
}

static int32_t host_is_stopping(void *ctx) {
    const ss_host *host = ctx;
    const _Atomic uint32_t *ring =
        atomic_load_explicit(&host->ring_stopping, memory_order_acquire);
    return atomic_load_explicit(&host->stopping, memory_order_relaxed) != 0 ||
           (ring != NULL && atomic_load_explicit(ring, memory_order_relaxed) != 0);
}

/* ---- slipstream.config/1 --------------------------------------------------------- */

static int32_t find(ss_host *host, const char *pointer, ss_json *value) {
    if (atomic_load_explicit(&host->life, memory_order_acquire) != SS_LOADING)
        return SLIPSTREAM_WRONG_STATE;
    return ss_json_find(host->config, host->config_len, pointer, value);
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
    return folder(host, host->config_dir, buffer, len);
}

static int32_t config_data_dir(void *ctx, char *buffer, size_t *len) {
    ss_host *host = ctx;
    return folder(host, host->data_dir, buffer, len);
}

static const slipstream_config_v1 config_extension = {
    sizeof config_extension, 0,
    config_type_at, config_key_at,
    config_get_bool, config_get_i64, config_get_u64, config_get_f64,
    config_get_text, config_get_json,
    config_config_dir, config_data_dir,
};

/* ---- slipstream.metrics/1 -------------------------------------------------------- */

static bool is_key(const char *p, size_t len) {
    if (len == 0 || len > SLIPSTREAM_NAME_MAX || (*p >= '0' && *p <= '9'))
        return false;
    for (size_t i = 0; i < len; i++)
        if (!((p[i] >= 'a' && p[i] <= 'z') || (p[i] >= '0' && p[i] <= '9') || p[i] == '_'))
            return false;
    return true;
}

static bool is_label(const char *label) {
    const size_t len = strnlen(label, 2 * SLIPSTREAM_NAME_MAX + 2);
    const char *equals = memchr(label, '=', len);
    if (equals == NULL || !is_key(label, (size_t)(equals - label)))
        return false;
    const char *value = equals + 1;
    const size_t value_len = len - (size_t)(value - label);
    if (value_len > SLIPSTREAM_NAME_MAX)
        return false;
    for (size_t i = 0; i < value_len; i++)
        if (value[i] < 0x20 || value[i] > 0x7E)
            return false;
    return true;
}

static ss_series *known_series(ss_host *host, const char *name, const char *label,
                               uint32_t is_gauge) {
    const uint32_t count = atomic_load_explicit(&host->series_count, memory_order_acquire);
    for (uint32_t i = 0; i < count; i++) {
        ss_series *series = &host->series[i];
        if (series->is_gauge == is_gauge && strcmp(series->name, name) == 0 &&
            strcmp(series->label, label) == 0)
            return series;
    }
    return NULL;
}

static int32_t find_series(ss_host *host, const char *name, const char *label, uint32_t is_gauge,
                           ss_series **out) {
    if (name == NULL || !is_key(name, strnlen(name, SLIPSTREAM_NAME_MAX + 1)) ||
        (label != NULL && !is_label(label)))
        return SLIPSTREAM_INVALID_ARGUMENT;
    if (label == NULL)
        label = "";
    *out = known_series(host, name, label, is_gauge);
    if (*out != NULL)
        return SLIPSTREAM_OK;
    pthread_mutex_lock(&host->series_lock);
    *out = known_series(host, name, label, is_gauge);
    const uint32_t count = atomic_load_explicit(&host->series_count, memory_order_relaxed);
    if (*out == NULL && count < SS_SERIES_MAX) {
        ss_series *series = &host->series[count];
        strcpy(series->name, name);
        strcpy(series->label, label);
        series->is_gauge = is_gauge;
        atomic_store_explicit(&host->series_count, count + 1, memory_order_release);
        *out = series;
    }
    pthread_mutex_unlock(&host->series_lock);
    return *out == NULL ? SLIPSTREAM_TOO_LARGE : SLIPSTREAM_OK;
}

static int32_t metrics_counter_add(void *ctx, const char *name, const char *label,
                                   uint64_t amount) {
    ss_series *series;
    const int32_t status = find_series(ctx, name, label, 0, &series);
    if (status == SLIPSTREAM_OK)
        atomic_fetch_add_explicit(&series->bits, amount, memory_order_relaxed);
    return status;
}

static int32_t metrics_gauge_set(void *ctx, const char *name, const char *label, double value) {
    ss_series *series;
    uint64_t bits;
    const int32_t status = find_series(ctx, name, label, 1, &series);
    if (status != SLIPSTREAM_OK)
        return status;
    memcpy(&bits, &value, sizeof bits);
    atomic_store_explicit(&series->bits, bits, memory_order_relaxed);
    return SLIPSTREAM_OK;
}

static const slipstream_metrics_v1 metrics_extension = {
    sizeof metrics_extension, 0, metrics_counter_add, metrics_gauge_set,
};

/* ---------------------------------------------------------------------------------- */

static const void *host_get_extension(void *ctx, const char *id) {
    (void)ctx;
    if (id == NULL)
        return NULL;
    if (strcmp(id, SLIPSTREAM_EXT_CONFIG) == 0)
        return &config_extension;
    if (strcmp(id, SLIPSTREAM_EXT_METRICS) == 0)
        return &metrics_extension;
    return NULL;
}

bool ss_host_init(ss_host *host, ss_log_queue *log, uint32_t log_id, const char *config_dir) {
    const slipstream_host table = {
        sizeof table, SLIPSTREAM_ABI_MINOR,
        host, "slipstream", SS_VERSION,
        host_log_enabled, host_log, host_set_error,
        host_ack, host_is_stopping, host_get_extension,
    };
    memset(host, 0, sizeof *host);
    host->table = table;
    host->log = log;
    host->log_id = log_id;
    host->config_dir = config_dir == NULL ? NULL : strdup(config_dir);
    if ((config_dir != NULL && host->config_dir == NULL) ||
        pthread_mutex_init(&host->series_lock, NULL) != 0) {
        free(host->config_dir);
        return false;
    }
    ss_log_queue_retain(log);
    return true;
}

void ss_host_free(ss_host *host) {
    pthread_mutex_destroy(&host->series_lock);
    free(host->config_dir);
    free(host->data_dir);
    ss_log_queue_release(host->log);
}

size_t ss_host_error(const ss_host *host, char *out, size_t room) {
    return ss_text_escape(out, room, host->error, host->error_len);
}

void ss_host_log_failure(ss_log_queue *log, uint32_t log_id, const ss_host *host, int32_t status,
                         const uint8_t *frame, uint64_t ordinal) {
    char text[2 * SLIPSTREAM_ERROR_MAX] = "";
    const char *kind = ss_frame_kind_name(slipstream_load_u16(frame + 6));
    const bool fatal = status == SLIPSTREAM_FATAL || status == SLIPSTREAM_PANIC;
    if (host != NULL)
        ss_host_error(host, text, sizeof text);
    if (status > 0 || status < SLIPSTREAM_PANIC)
        ss_log_queue_format(log, SLIPSTREAM_LOG_PLUGIN_MISBEHAVING, log_id,
                            "on_broadcast returned %d, which is no status of this contract",
                            (int)status);
    ss_log_queue_format(log, SLIPSTREAM_LOG_ERROR, log_id,
                        "on_broadcast returned %s (%d) for %s, ordinal %llu, sequence %llu%s%s%s",
                        ss_status_name(status), (int)status, kind, (unsigned long long)ordinal,
                        (unsigned long long)slipstream_load_u64(frame + 24), text[0] ? ": " : "",
                        text, fatal ? "; the plugin gets nothing more" : "");
}

void ss_host_log_gap(ss_log_queue *log, uint32_t log_id, uint64_t first, uint64_t last) {
    ss_log_queue_format(
        log, SLIPSTREAM_LOG_WARN, log_id,
        "%llu events were not delivered (ordinals %llu to %llu); the plugin is told by "
        "a GAP",
        (unsigned long long)(last - first + 1), (unsigned long long)first,
        (unsigned long long)last);
}
