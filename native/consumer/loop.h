/* loop: what the loop of a consumer is made of, for the files that make it (consume, answers).
 * [the instance's thread] */
#ifndef SS_LOOP_H
#define SS_LOOP_H

#include "base/clock.h"
#include "consumer/acks.h"
#include "ring/cursor.h"

enum { NAP_MS = 50 }; /* between two looks at what the host wants, where events must not wake us */

/* Calls that take less may be timed together. The tests say more, where all takes longer. */
#ifndef SS_QUICK_NS
#define SS_QUICK_NS 1000
#endif

typedef struct loop {
    ss_consumer *consumer;
    const ss_ring_head *head;
    ss_control *control;
    ss_host *host;
    uint64_t key;
    uint64_t replay_until;
    uint64_t call_end; /* ticks; 0 if something else has happened since */
    uint64_t usual_ticks; /* of a call, when they were quick last */
    uint64_t next_skip;
    uint64_t stop_seen; /* the boundary of the stop that was looked at last */
    bool takes_runs;
    bool is_quick; /* the last call was */
    slipstream_delivery delivery;
    ss_acks acks;
    ss_cursor cursor;
} loop;

static inline void ss_loop_add(_Atomic uint64_t *counter, uint64_t amount) {
    atomic_store_explicit(counter, atomic_load_explicit(counter, memory_order_relaxed) + amount,
                          memory_order_relaxed);
}

/* ---- What the host wants --------------------------------------------------------------- */

/* Looked at before the boundary, which belongs to this stop or to a later one. Pairs with
 * ss_queue_want_stop. */
static inline bool must_stop(const loop *l) {
    l->consumer->stopped_for =
        atomic_load_explicit(&l->head->stop_wanted, memory_order_acquire);
    return l->consumer->stopped_for != 0;
}

static inline bool is_paused(const loop *l) {
    /* Pairs with the release in ss_queue_pause. */
    return atomic_load_explicit(&l->head->paused, memory_order_acquire) != 0;
}

static inline uint64_t boundary(const loop *l) {
    return atomic_load_explicit(&l->head->boundary, memory_order_acquire);
}

/* Has what was refused kept, as far as that is ours to do, and hears of it. */
static inline void ss_loop_keep(loop *l) {
    if (l->acks.is_slow && ss_consumer_has_refused(l->consumer)) {
        if (l->consumer->keep != NULL)
            l->consumer->keep(l->consumer->context);
        /* What is copied out next may be dropped behind us: nothing before it may be open. */
        ss_acks_hear(&l->acks, l->consumer->view.overflow == SS_OVERFLOW_DROP_OLDEST);
    }
}

static inline int32_t ss_loop_stop(loop *l) {
    const int32_t end = ss_acks_flush(&l->acks);
    return end == GO_ON ? SS_CONSUMED_BOUNDARY : end;
}

/* ---- Calling the plugin ---------------------------------------------------------------- */

/* `count` calls are over, the first of which began at call_end: they are timed together. */
static inline void ss_loop_time(loop *l, uint32_t count) {
    ss_control *control = l->control;
    const uint64_t now = ss_ticks();
    const uint64_t ticks = now - l->call_end;
    uint64_t each = ticks / count;
    l->call_end = now; /* calls that follow each other share one look at the counter */
    l->is_quick = ss_ticks_to_ns(each) < SS_QUICK_NS;
    ss_loop_add(&control->calls, count);
    ss_loop_add(&control->call_ticks, ticks);
    if (l->is_quick) {
        l->usual_ticks = each;
    } else if (count > 1) { /* one was slow, as far as can be told: the others were as before */
        each = l->usual_ticks;
        ss_loop_add(&control->buckets[ss_histogram_bucket(ticks - each * --count)], 1);
    }
    ss_loop_add(&control->buckets[ss_histogram_bucket(each)], count);
}

/* What stands written before each call for events up to `last`. */
static inline void ss_loop_announce(loop *l, uint64_t last) {
    l->host->error_len = 0;
    atomic_store_explicit(&l->host->delivered, last, memory_order_release);
    ss_tell(&l->control->started, l->key, SS_PLACE_STARTED, last);
}

/* One call for `count` frames, or a GAP, up to ordinal `last`. */
static inline int32_t ss_loop_call(loop *l, const uint8_t *frames, size_t len, uint64_t last,
                                   uint32_t count, uint32_t attempt) {
    const slipstream_plugin *table = l->consumer->table;
    l->delivery.attempt = attempt;
    l->delivery.count = count;
    l->delivery.first_ordinal = last - count + 1;
    ss_loop_announce(l, last);
    ss_tell(&l->control->run, l->key, SS_PLACE_RUN, count);
    if (l->call_end == 0)
        l->call_end = ss_ticks();
    const int32_t status = table->on_broadcast(table->instance, &l->delivery, frames, len);
    ss_os_end_if_forked(l->host->process);
    ss_tell(&l->control->run, l->key, SS_PLACE_RUN, 0);
    ss_loop_time(l, 1);
    return status;
}

static inline bool is_taken(int32_t status) {
    return status == SLIPSTREAM_OK || status == SLIPSTREAM_IGNORED;
}

static inline bool is_end(int32_t status) {
    return status == SLIPSTREAM_FATAL || status == SLIPSTREAM_PANIC;
}

static inline bool wants_retry(int32_t status) {
    return status == SLIPSTREAM_RETRY || status == SLIPSTREAM_NO_MEMORY ||
           status == SLIPSTREAM_TIMEOUT;
}

/* A GAP is none: those that it tells of are counted as lost. */
static inline bool is_event(const uint8_t *frame) {
    return slipstream_load_u16(frame + 6) != SLIPSTREAM_KIND_GAP;
}

/* In answers.c. Offers an event, for which the plugin has asked again, until it gives another
 * answer, `status`, or until the operator's bound: then the answer stands. GO_ON; or how that
 * ended the consumer, with the event kept. */
int32_t ss_loop_retry(loop *l, const uint8_t *frame, size_t len, uint64_t ordinal,
                      uint32_t attempt, int32_t *status);
/* What follows from an answer by which it was not taken. GO_ON, or how it ends the consumer. */
int32_t ss_loop_fail(loop *l, int32_t status, const uint8_t *frame, size_t len, uint64_t ordinal);
/* A run up to ordinal `last` was taken, but for what was rejected of it. */
void ss_loop_settle(loop *l, int32_t status, const uint8_t *frames, uint64_t last, uint32_t count);
/* A run was not taken: what was rejected of it is forgotten. */
static inline void ss_loop_forget(loop *l) {
    if (l->acks.is_slow)
        ss_host_forget_rejections(&l->host->settle, 0);
}

#endif
