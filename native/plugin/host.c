#include "plugin/host.h"

#include "base/lock.h"
#include "base/text.h"
#include "frame/frame.h"
#include "plugin/crash.h"
#include "plugin/host_peers.h"
#include "plugin/status.h"

#include <stdio.h>
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
    if (!ss_os_is_process(host->process))
        return; /* a lock may be held there for good, and nobody reads it */
    if (level >= SLIPSTREAM_LOG_PLUGIN_MISBEHAVING) {
        misbehaved(host, "log called with a level that a plugin may not use");
        level = SLIPSTREAM_LOG_ERROR;
    }
    if (text == NULL && len > 0) {
        misbehaved(host, "log called with a text that is NULL");
        return;
    }
    ss_log_queue_put(host->log, level, host->log_id, len > 0 ? text : "", len);
}

static void host_set_error(void *ctx, const char *text, size_t len) {
    ss_host *host = ctx;
    if (text == NULL && len > 0) {
        misbehaved(host, "set_error called with a text that is NULL");
        return;
    }
    if (len == 0)
        text = "";
    if (atomic_load_explicit(&host->caller, memory_order_relaxed) != ss_os_self()) {
        char kept[1024];
        ss_log_queue_format(host->log, SLIPSTREAM_LOG_PLUGIN_MISBEHAVING, host->log_id,
                            "set_error called outside of a call of the host: %.*s",
                            (int)ss_text_keep(kept, sizeof kept, text, len), kept);
        return;
    }
    host->error_len = ss_text_keep(host->error, sizeof host->error, text, len);
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
    if (!ss_os_is_process(host->process))
        return SLIPSTREAM_WRONG_STATE;
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

/* All that this host offers; some of it only where the application has what it takes. */
static const struct {
    const char *id;
    const void *table;
    uint32_t offer; /* SS_OFFERS_*; 0: always */
} extensions[] = {
    {SLIPSTREAM_EXT_CONFIG, &ss_host_config_table, 0},
    {SLIPSTREAM_EXT_METRICS, &ss_host_metrics_table, 0},
    {SLIPSTREAM_EXT_SETTLE, &ss_host_settle_table, 0},
    {SLIPSTREAM_EXT_SEND, &ss_host_send_table, SS_OFFERS_SEND},
    {SLIPSTREAM_EXT_PEERS, &ss_host_peers_table, SS_OFFERS_PEERS},
    {SLIPSTREAM_EXT_IDENTITY, &ss_host_identity_table, SS_OFFERS_IDENTITY},
};

static const void *host_get_extension(void *ctx, const char *id) {
    const ss_host *host = ctx;
    const uint32_t offers = host->peers == NULL ? 0 : host->peers->map->terms.offers;
    if (id == NULL)
        return NULL;
    for (size_t i = 0; i < sizeof extensions / sizeof extensions[0]; i++)
        if (strcmp(id, extensions[i].id) == 0)
            return (extensions[i].offer & ~offers) == 0 ? extensions[i].table : NULL;
    return NULL;
}

const char *ss_host_extension(uint32_t index) {
    return index < sizeof extensions / sizeof extensions[0] ? extensions[index].id : NULL;
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
    host->process = ss_os_process();
    if (ss_host_config_keep_dir(&host->config.config_dir, config_dir) != SLIPSTREAM_OK ||
        !ss_os_mutex_init(&host->metrics.lock)) {
        ss_host_config_free(&host->config);
        return false;
    }
    ss_log_queue_retain(log);
    ss_crash_add(host);
    return true;
}

void ss_host_free(ss_host *host) {
    ss_crash_remove(host);
    ss_host_settle_free(&host->settle);
    ss_caller_free(host->peers);
    ss_os_mutex_destroy(&host->metrics.lock);
    ss_host_config_free(&host->config);
    ss_log_queue_release(host->log);
}

size_t ss_host_error(const ss_host *host, char *out, size_t room) {
    return ss_text_show_marked(out, room, host->error, host->error_len);
}

void ss_host_log_failure(ss_log_queue *log, uint32_t log_id, const ss_host *host, int32_t status,
                         const uint8_t *frame, uint64_t ordinal, uint32_t count) {
    char behind[48] = "";
    char text[2 * SLIPSTREAM_ERROR_MAX] = "";
    const char *kind = ss_frame_kind_name(slipstream_load_u16(frame + 6));
    const bool fatal = status == SLIPSTREAM_FATAL || status == SLIPSTREAM_PANIC;
    if (host != NULL)
        ss_host_error(host, text, sizeof text);
    if (status > 0) /* an unknown negative one may be a newer contract's */
        ss_log_queue_format(log, SLIPSTREAM_LOG_PLUGIN_MISBEHAVING, log_id,
                            "on_broadcast returned %d, which is not one of its answers",
                            (int)status);
    if (count > 1)
        snprintf(behind, sizeof behind, ", and %u %s after it", count - 1,
                 ss_text_form(count - 1, "event", "events"));
    ss_log_queue_format(log, SLIPSTREAM_LOG_ERROR, log_id,
                        "on_broadcast returned %s (%d) for %s, ordinal %llu, sequence %llu%s%s%s%s",
                        ss_status_name(status), (int)status, kind, (unsigned long long)ordinal,
                        (unsigned long long)slipstream_load_u64(frame + 24), behind,
                        text[0] ? ": " : "", text, fatal ? "; the plugin gets nothing more" : "");
}

void ss_host_log_rejection(ss_log_queue *log, uint32_t log_id, const ss_rejection *rejection) {
    char text[2 * SLIPSTREAM_ERROR_MAX];
    ss_text_show_marked(text, sizeof text, rejection->text, rejection->len);
    ss_log_queue_format(log, SLIPSTREAM_LOG_ERROR, log_id,
                        "ordinal %llu was rejected with %s (%d)%s%s",
                        (unsigned long long)rejection->ordinal, ss_status_name(rejection->status),
                        (int)rejection->status, text[0] ? ": " : "", text);
}

void ss_host_judge_status(ss_host *host, const char *function, int32_t status) {
    if (status > 0)
        ss_log_queue_format(host->log, SLIPSTREAM_LOG_PLUGIN_MISBEHAVING, host->log_id,
                            "%s returned %d, which is not one of its answers", function, (int)status);
}

void ss_host_log_gap(ss_log_queue *log, uint32_t log_id, uint64_t first, uint64_t last) {
    ss_log_queue_format(
        log, SLIPSTREAM_LOG_WARN, log_id,
        "%llu %s not delivered (ordinals %llu to %llu); the plugin is told by a GAP",
        (unsigned long long)(last - first + 1),
        ss_text_form(last - first + 1, "event was", "events were"), (unsigned long long)first,
        (unsigned long long)last);
}
