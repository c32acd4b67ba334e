/* consume: the loop that takes events out of a ring and hands them to a plugin. It runs on
 * the instance's own thread: in the host for thread mode, in slipstream-worker for process
 * mode. */
#ifndef SS_CONSUME_H
#define SS_CONSUME_H

#include "frame/dead_letter.h"
#include "plugin/host.h"
#include "ring/ring.h"

/* Why ss_consume returned. */
/* stop_wanted, and everything up to the boundary is done. Less may be done: an event that
 * the plugin asks to be given again is kept, and everything is while paused. */
#define SS_CONSUMED_BOUNDARY 0
#define SS_CONSUMED_FATAL 1    /* the plugin returned FATAL: on_unload, destroy */
#define SS_CONSUMED_PANIC 2    /* the plugin returned PANIC: only destroy */
#define SS_CONSUMED_DAMAGED 3  /* a record made no sense */

/* How an event is offered again for which the plugin has asked: pauses double from the first to
 * the longest; `max_time_ms` after its first answer it counts as FAILED, 0: never. */
typedef struct ss_retry_bounds {
    uint32_t initial_ms;
    uint32_t max_ms;
    uint32_t max_time_ms;
} ss_retry_bounds;

typedef struct ss_consumer {
    ss_view view;
    const slipstream_plugin *table;
    ss_host *host;
    uint64_t kinds;          /* for GAPs: delivered if there is any */
    uint32_t flush_idle_ms;  /* EXPLICIT_ACK: flush after so long without an event; 0: never */
    uint32_t flush_timeout_ms;
    ss_retry_bounds retry;
    /* Tells the host of an event that was refused for good; one call at a time, by any thread. It
     * is acknowledged only when the ring's head says that it is kept. */
    void (*refused)(void *context, const ss_letter *letter, uint32_t number);
    /* Has what was told of kept now; NULL: the host does so by itself. */
    void (*keep)(void *context);
    void *context;
    /* ss_consume's own. Bytes of a call under way must stay, whatever is acknowledged: the
     * producer is told of no more than what is done. */
    _Atomic uint64_t acked;
    _Atomic uint64_t done;
    uint64_t told;
    ss_lock refuse_lock; /* around `refused` and what notes it, so that both have one order */
    /* Refusals that the host was told of and has not kept yet: a row of them, by number. Under the
     * host's ack_lock. */
    uint64_t refusals[SS_REFUSALS_MAX];
    _Atomic uint32_t refused_count;
    _Atomic uint32_t kept_count;
    uint32_t kept_base; /* what the ring's head said at the start */
    uint32_t stopped_for; /* SS_CONSUMED_BOUNDARY: what stop_wanted said then */
    uint32_t reserved;
} ss_consumer;

/* Runs until one of the reasons above. host->ack and host->is_stopping reach the ring from
 * its start until ss_consumer_disconnect. [the instance's thread] */
uint32_t ss_consume(ss_consumer *consumer);
/* Before the consumer's memory goes, if that is before the plugin is destroyed. Acks are
 * then too late to be heard. */
void ss_consumer_disconnect(ss_consumer *consumer);

/* Looks what the host has kept meanwhile. How many refusals wait for that. [any thread] */
uint32_t ss_consumer_hear(ss_consumer *consumer);
/* Tells the host of a refusal; waits as long as too many are under way. [any thread] */
void ss_consumer_refuse(ss_consumer *consumer, const ss_letter *letter);

/* Raises the acknowledged ordinal that the producer sees. [any thread] */
void ss_consumer_raise_acked(ss_consumer *consumer, uint64_t ordinal);

#endif
