/* bad_tables.c - what the plugin may call, right but for the mode. */
#include "bad_host.h"

#include <pthread.h>
#include <stdio.h>

enum { SERIES = 128, ROOM = 160 };

_Atomic bool is_loaded, is_stopping;
_Atomic uint64_t first_ordinal, last_ordinal, acknowledged;
char *load_text;
uint32_t plugin_flags;
void (*in_ack)(void);
static pthread_mutex_t log_lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_t log_owner;
static _Atomic bool log_is_owned;

void lock_log(bool wanted) {
    if (wanted) {
        pthread_mutex_lock(&log_lock);
        log_owner = pthread_self();
    }
    log_is_owned = wanted;
    if (!wanted)
        pthread_mutex_unlock(&log_lock);
}

static int32_t log_enabled(void *ctx, uint32_t level) {
    (void)ctx;
    return level >= SLIPSTREAM_LOG_WARN;
}

static void log_line(void *ctx, uint32_t level, const char *text, size_t len) {
    (void)ctx;
    if (!log_is_owned || !pthread_equal(log_owner, pthread_self())) {
        pthread_mutex_lock(&log_lock);
        pthread_mutex_unlock(&log_lock);
    }
    if (level >= SLIPSTREAM_LOG_WARN)
        fprintf(stderr, "%u %.*s\n", (unsigned)level, (int)len, len > 0 ? text : "");
}

static void set_error(void *ctx, const char *text, size_t len) {
    log_line(ctx, SLIPSTREAM_LOG_ERROR, text, len);
}

static int32_t ack(void *ctx, uint64_t ordinal) {
    (void)ctx;
    if (in_ack != NULL && is_loaded)
        in_ack();
    if (!is_loaded && !is_stopping)
        return is("ack.state") ? SLIPSTREAM_OK : SLIPSTREAM_WRONG_STATE;
    if ((plugin_flags & SLIPSTREAM_FLAG_EXPLICIT_ACK) == 0)
        return is("ack.unflagged") ? SLIPSTREAM_OK : SLIPSTREAM_INVALID_ARGUMENT;
    if (ordinal > last_ordinal)
        return is("ack.future") ? SLIPSTREAM_OK : SLIPSTREAM_INVALID_ARGUMENT;
    if ((is("ack.running") && is_loaded && ordinal >= first_ordinal) ||
        (is("ack.lower") && ordinal < acknowledged))
        return SLIPSTREAM_INVALID_ARGUMENT;
    if (ordinal > acknowledged)
        acknowledged = ordinal;
    return SLIPSTREAM_OK;
}

static int32_t stopping(void *ctx) {
    (void)ctx;
    return is_stopping && !is("unload.stopping");
}

static int32_t reject(void *ctx, uint64_t ordinal, int32_t status, const char *text, size_t len) {
    static uint64_t before;
    const bool settles = status < 0 && status != SLIPSTREAM_RETRY &&
                         status != SLIPSTREAM_NO_MEMORY && status != SLIPSTREAM_TIMEOUT &&
                         status != SLIPSTREAM_FATAL && status != SLIPSTREAM_PANIC;
    const bool is_explicit = (plugin_flags & SLIPSTREAM_FLAG_EXPLICIT_ACK) != 0;
    (void)ctx, (void)text, (void)len;
    if (!is_loaded)
        return is("settle.state") ? SLIPSTREAM_OK : SLIPSTREAM_WRONG_STATE;
    if (!settles)
        return is("settle.status") ? SLIPSTREAM_OK : SLIPSTREAM_INVALID_ARGUMENT;
    if (ordinal > last_ordinal || (is_explicit ? ordinal <= acknowledged : ordinal < first_ordinal))
        return is("settle.outside") ? SLIPSTREAM_OK : SLIPSTREAM_INVALID_ARGUMENT;
    if (is("settle.reject") && ordinal == before)
        return SLIPSTREAM_INVALID_ARGUMENT;
    before = ordinal;
    return SLIPSTREAM_OK;
}

/* ---- Metrics ------------------------------------------------------------------------ */

static pthread_mutex_t metrics_lock = PTHREAD_MUTEX_INITIALIZER;
static struct {
    char name[64], label[ROOM];
    bool is_gauge;
} series[SERIES];
static size_t series_count;

static bool is_key(const char *key, size_t len) {
    return len > 0 && len < 64 && (*key < '0' || *key > '9') &&
           strspn(key, "abcdefghijklmnopqrstuvwxyz0123456789_") >= len;
}

static bool is_label(const char *label) {
    const char *value = strchr(label, '=');
    if (value == NULL || !is_key(label, (size_t)(value - label)) || strlen(value + 1) > 63)
        return false;
    for (value++; *value != '\0'; value++)
        if (*value < 0x20 || *value > 0x7E)
            return false;
    return true;
}

static int32_t put(const char *name, const char *label, bool is_gauge) {
    if ((!is_key(name, strlen(name)) && !is("metrics.name")) ||
        (label != NULL && !is_label(label) && !is("metrics.label")))
        return SLIPSTREAM_INVALID_ARGUMENT;
    for (size_t i = 0; i < series_count; i++) {
        if (strcmp(series[i].name, name) != 0)
            continue;
        if (series[i].is_gauge != is_gauge && !is("metrics.other"))
            return SLIPSTREAM_INVALID_ARGUMENT;
        if (strcmp(series[i].label, label == NULL ? "" : label) == 0)
            return SLIPSTREAM_OK;
    }
    if (series_count == (is("metrics.ok") ? 32 : SERIES))
        return SLIPSTREAM_TOO_LARGE;
    snprintf(series[series_count].name, 64, "%s", name);
    snprintf(series[series_count].label, ROOM, "%s", label == NULL ? "" : label);
    series[series_count++].is_gauge = is_gauge;
    return SLIPSTREAM_OK;
}

static int32_t locked_put(const char *name, const char *label, bool is_gauge) {
    pthread_mutex_lock(&metrics_lock);
    const int32_t status = put(name, label, is_gauge);
    pthread_mutex_unlock(&metrics_lock);
    return status;
}

static int32_t counter_add(void *ctx, const char *name, const char *label, uint64_t amount) {
    (void)ctx, (void)amount;
    return locked_put(name, label, false);
}

static int32_t gauge_set(void *ctx, const char *name, const char *label, double value) {
    (void)ctx, (void)value;
    return locked_put(name, label, true);
}

/* ---- The table ---------------------------------------------------------------------- */

static const void *get_extension(void *ctx, const char *id) {
    static const slipstream_metrics_v1 metrics = {sizeof metrics, 0, counter_add, gauge_set};
    static slipstream_settle_v1 settle = {sizeof settle, 0, reject};
    (void)ctx;
    if (is("extension.table"))
        settle.struct_size = 8;
    if (load_text != NULL && is("load.stable"))
        *load_text = '\n'; /* in front of it: still the same config */
    if (strcmp(id, SLIPSTREAM_EXT_CONFIG) == 0)
        return config_table();
    if (strcmp(id, SLIPSTREAM_EXT_METRICS) == 0)
        return &metrics;
    if (strcmp(id, SLIPSTREAM_EXT_SETTLE) == 0)
        return &settle;
    const void *peers = peers_extension(id);
    if (peers != NULL)
        return peers;
    return is("extension.unknown") && strncmp(id, "org.", 4) == 0 ? &metrics : NULL;
}

void host_table(slipstream_host *table, void *ctx) {
    const slipstream_host whole = {
        is("host.size") ? SLIPSTREAM_HOST_SIZE_1_0 - (uint32_t)sizeof(void *) : sizeof whole,
        SLIPSTREAM_ABI_MINOR,
        ctx,
        is("host.name") ? "Bad Host" : "bad-host",
        is("host.version") ? "" : "1.0.0",
        log_enabled,
        log_line,
        set_error,
        is("host.function") ? NULL : ack,
        stopping,
        get_extension};
    *table = whole;
}
