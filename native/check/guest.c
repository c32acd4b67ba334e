#include "check/guest.h"

#include "check/memory.h"
#include "check/notes.h"
#include "check/peers.h"

#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

enum {
    LINES = 200,
    NEWER_MINOR = 99,
};

static ss_guest guests[SS_PLAY_GUESTS];
static ss_guest *slots[SS_PLAY_SLOTS];
static uint32_t made;

/* ---- The host's functions: those of the product, watched ---------------------------------- */

static ss_guest *guest_of(void *ctx, const char *function) {
    ss_guest *guest = ctx;
    if (atomic_load_explicit(&guest->is_dead, memory_order_relaxed) != 0)
        ss_note_text(SS_PLAYED_LATE_CALL, 0, function);
    return guest;
}

static void misused(const char *function, const char *what) {
    char text[256];
    snprintf(text, sizeof text, "%s was called with %s", function, what);
    ss_note_text(SS_PLAYED_LINE, SLIPSTREAM_LOG_PLUGIN_MISBEHAVING, text);
}

static int32_t log_enabled(void *ctx, uint32_t level) {
    ss_guest *guest = guest_of(ctx, "log_enabled");
    const slipstream_host *real = &guest->host.table;
    return real->log_enabled(real->ctx, level);
}

static void log_line(void *ctx, uint32_t level, const char *text, size_t len) {
    ss_guest *guest = guest_of(ctx, "log");
    if (text == NULL && len == 0)
        text = "";
    guest->host.table.log(ctx, level, text, len);
}

static void set_error(void *ctx, const char *text, size_t len) {
    ss_guest *guest = guest_of(ctx, "set_error");
    if (text == NULL && len == 0)
        text = "";
    guest->host.table.set_error(ctx, text, len);
}

static int32_t ack(void *ctx, uint64_t ordinal) {
    return guest_of(ctx, "ack")->host.table.ack(ctx, ordinal);
}

static int32_t is_stopping(void *ctx) {
    return guest_of(ctx, "is_stopping")->host.table.is_stopping(ctx);
}

static int32_t counter_add(void *ctx, const char *name, const char *label, uint64_t amount) {
    const int32_t status = ss_host_metrics_table.counter_add(ctx, name, label, amount);
    if (status == SLIPSTREAM_INVALID_ARGUMENT)
        misused("counter_add", "an invalid name or label, or the name of a gauge");
    return status;
}

static int32_t gauge_set(void *ctx, const char *name, const char *label, double value) {
    const int32_t status = ss_host_metrics_table.gauge_set(ctx, name, label, value);
    if (status == SLIPSTREAM_INVALID_ARGUMENT)
        misused("gauge_set", "an invalid name or label, or the name of a counter");
    return status;
}

static int32_t reject(void *ctx, uint64_t ordinal, int32_t outcome, const char *text, size_t len) {
    const int32_t status = ss_host_settle_table.reject(ctx, ordinal, outcome, text, len);
    if (status == SLIPSTREAM_INVALID_ARGUMENT)
        misused("reject", "an ordinal that is not in the run, or a status that does not settle");
    return status;
}

static slipstream_config_v1 config;
static slipstream_metrics_v1 metrics = {sizeof metrics, 0, counter_add, gauge_set};
static slipstream_settle_v1 settle = {sizeof settle, 0, reject};

static const void *get_extension(void *ctx, const char *id) {
    ss_guest *guest = guest_of(ctx, "get_extension");
    if (id == NULL)
        misused("get_extension", "an id that is NULL");
    if (id == NULL || guest->kind == SS_PLAY_HOST_BARE)
        return NULL;
    if (strcmp(id, SLIPSTREAM_EXT_CONFIG) == 0)
        return &config;
    if (strcmp(id, SLIPSTREAM_EXT_METRICS) == 0)
        return &metrics;
    if (strcmp(id, SLIPSTREAM_EXT_SETTLE) == 0)
        return &settle;
    const void *found = ss_peers_extension(id, guest->kind);
    return found != NULL ? found : guest->host.table.get_extension(ctx, id);
}

static _Atomic uint32_t told; /* lines */

/* Of all that is logged, only what breaks the contract matters here, and a little of the rest. */
static void log_sink(int64_t time_ns, uint32_t level, const char *text, size_t len,
                     uint64_t whole) {
    (void)time_ns, (void)whole;
    const bool counts = level >= SLIPSTREAM_LOG_HOST_MISBEHAVING;
    if (atomic_fetch_add(&told, 1) < LINES || (counts && atomic_load(&told) < 10 * LINES))
        ss_note(SS_PLAYED_LINE, (int32_t)level, 0, 0, text, len);
}

static ss_log_queue *queue;

static ss_log_queue *log_queue(void) {
    if (queue == NULL) {
        queue = ss_log_queue_new(128 * 1024);
        if (queue == NULL)
            ss_give_up("there is no memory for the log");
        ss_log_queue_set_sink(queue, log_sink);
    }
    return queue;
}

/* ---- Guests -------------------------------------------------------------------------------- */

/* What a later minor's table may look like: larger than ours. */
typedef struct newer_host {
    slipstream_host known;
    void *later[8];
} newer_host;

static newer_host plain[SS_PLAY_GUESTS];

static const slipstream_host *table_of(ss_guest *guest) {
    const slipstream_host usual = {
        sizeof usual, SLIPSTREAM_ABI_MINOR, guest, guest->host.table.name,
        guest->host.table.version, log_enabled, log_line, set_error,
        ack, is_stopping, get_extension,
    };
    newer_host newer = {usual, {NULL}};
    const bool is_newer = guest->kind == SS_PLAY_HOST_NEWER;
    if (is_newer) {
        newer.known.struct_size = sizeof newer;
        newer.known.abi_minor = NEWER_MINOR;
    }
    const uint32_t place = guest->kind == SS_PLAY_HOST_EDGE    ? SS_PLAY_PLACE_END
                           : guest->kind == SS_PLAY_HOST_CONST ? SS_PLAY_PLACE_CONST
                                                               : 0;
    const size_t size = is_newer ? sizeof newer : sizeof usual;
    ss_play_trace *trace = ss_trace();
    if (place == 0) {
        newer_host *at = plain + (guest - guests);
        *at = newer;
        return &at->known;
    }
    const ss_placed placed = ss_place(&newer, size, place | SS_PLAY_PLACE_KEEP);
    trace->table = (uint64_t)(uintptr_t)placed.data;
    trace->table_len = size;
    return (const slipstream_host *)(const void *)placed.data;
}

ss_guest *ss_guest_new(uint32_t slot, uint32_t kind, const char *config_dir) {
    ss_guest *guest = guests + made++ % SS_PLAY_GUESTS;
    if (made > SS_PLAY_GUESTS)
        ss_host_free(&guest->host);
    memset(guest, 0, sizeof *guest);
    if (!ss_host_init(&guest->host, log_queue(), slot + 1, config_dir))
        ss_give_up("there is no memory for a host");
    ss_host_config_keep_dir(&guest->host.config.data_dir, config_dir);
    guest->kind = kind;
    config = ss_host_config_table;
    config.reserved = metrics.reserved = settle.reserved =
        kind == SS_PLAY_HOST_RESERVED ? UINT32_MAX : 0;
    guest->table = table_of(guest);
    slots[slot] = guest;
    return guest;
}

ss_guest *ss_guest_in(uint32_t slot) {
    return slots[slot];
}
