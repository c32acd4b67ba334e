/* host: the host table of one instance, and what stands behind it.
 * Between the marks stand only declarations; the build parses them. */
#ifndef SS_HOST_H
#define SS_HOST_H

#include "base/lock.h"
#include "base/log_queue.h"
#include "peers/caller.h"
#include "plugin/host_config.h"
#include "plugin/host_metrics.h"
#include "plugin/host_settle.h"

#include <slipstream.h>
#include <stdatomic.h>
#include <stdbool.h>

/* Where an instance is in its life; what the host functions allow depends on it. */
enum ss_life {
    SS_CONSTRUCTING = 0,
    SS_CONSTRUCTED = 1,
    SS_LOADING = 2,
    SS_LOADED = 3,
    SS_UNLOADING = 4,
    SS_UNLOADED = 5,
};

typedef struct ss_host {
    slipstream_host table; /* ctx is this struct */
    ss_log_queue *log;
    uint32_t log_id; /* number of the instance in log lines */
    char name[SLIPSTREAM_NAME_MAX + 1]; /* the plugin's own, once it is constructed; "" */
    uint32_t process; /* that made it: for the children of another it does nothing */
    _Atomic uint32_t life;
    _Atomic uint32_t stopping;
    _Atomic uint32_t explicit_ack;
    _Atomic uintptr_t caller; /* thread of the host's current call, 0 outside of one */
    _Atomic(const char *) function; /* that it calls; NULL: on_broadcast */
    _Atomic uint64_t delivered; /* last ordinal that was handed over */
    _Atomic uint64_t acked;
    /* Where events come from a ring: whom to tell of an ack, and the ring's own word that
     * the plugin should return. NULL where there is no ring. */
    ss_lock ack_lock; /* around on_ack */
    void (*on_ack)(void *context, uint64_t ordinal);
    void *ack_context;
    _Atomic(const _Atomic uint32_t *) ring_stopping;
    size_t error_len;
    char error[SLIPSTREAM_ERROR_MAX];
    ss_host_config config;
    ss_host_metrics metrics;
    ss_host_settle settle;
    ss_caller *peers; /* NULL where the host has no peers; set before it is constructed */
} ss_host;

/* cdef:begin */
/* The id of extension number `index` that this host offers, from 0; NULL behind the last. What needs
 * an application with peers is among them. */
const char *ss_host_extension(uint32_t index);
/* cdef:end */

/* False when there is no memory. The folder is copied; NULL where there is none. */
bool ss_host_init(ss_host *host, ss_log_queue *log, uint32_t log_id, const char *config_dir);
void ss_host_free(ss_host *host);

/* Around every call into the plugin: set_error belongs to the call in between. */
static inline void ss_host_enter(ss_host *host, uintptr_t thread) {
    host->error_len = 0;
    atomic_store_explicit(&host->caller, thread, memory_order_relaxed);
}
static inline void ss_host_leave(ss_host *host) {
    atomic_store_explicit(&host->caller, 0, memory_order_relaxed);
}

/* May a call of the plugin wait for the application? */
static inline bool ss_host_may_wait(const ss_host *host) {
    return host->peers != NULL &&
           (host->peers->map->terms.offers & (SS_OFFERS_PEERS | SS_OFFERS_IDENTITY)) != 0 &&
           (host->peers->map->terms.grants & ~(uint32_t)SS_GRANTS_SEND) != 0;
}

/* Raises `acked` to `ordinal`, never lowers it. */
void ss_host_raise_acked(ss_host *host, uint64_t ordinal);

/* Logs that on_broadcast returned `status` for a run of `count` frames, the first of which is
 * `frame` with `ordinal`, with the text that the plugin gave; `host` may be NULL. */
void ss_host_log_failure(ss_log_queue *log, uint32_t log_id, const ss_host *host, int32_t status,
                         const uint8_t *frame, uint64_t ordinal, uint32_t count);
/* Logs that it rejected an event of a run. */
void ss_host_log_rejection(ss_log_queue *log, uint32_t log_id, const ss_rejection *rejection);
/* Says so if a status is none of this contract: a positive one beside OK, END and IGNORED. */
void ss_host_judge_status(ss_host *host, const char *function, int32_t status);
/* Logs that events were lost, of which a GAP tells. */
void ss_host_log_gap(ss_log_queue *log, uint32_t log_id, uint64_t first, uint64_t last);

/* The text of the last call, safe to show, or "" . */
size_t ss_host_error(const ss_host *host, char *out, size_t room);

#endif
