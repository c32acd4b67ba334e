/* acks: what of the events is done and what is acknowledged, and the flushes in between. Behind
 * the loop of a consumer; what is acknowledged may be raised by any thread. */
#ifndef SS_ACKS_H
#define SS_ACKS_H

#include "consumer/consume.h"

enum { GO_ON = -1 }; /* beside SS_CONSUMED_*: there is no reason to return */

/* [the instance's thread] */
typedef struct ss_acks {
    ss_consumer *consumer;
    ss_control *control;
    uint64_t key;
    uint64_t done;          /* last ordinal that needs no call any more */
    uint64_t needs_ack;     /* EXPLICIT_ACK: last ordinal that only an ack acknowledges */
    bool are_explicit;
    bool is_slow;           /* explicit, or something was refused or rejected: look closer */
    bool has_refused;       /* and not all of that is kept */
    bool flush_asked;
    uint32_t flush_number;  /* of the request that is under way, or was answered last */
    uint32_t flush_seen;    /* of the last one that was looked at */
    uint64_t flush_after;   /* bytes: it is for everything before */
    uint64_t idle_flush_ns; /* when; 0: nothing to flush, or never */
    uint64_t half_flush_ns; /* not before, since the last one failed */
    /* Two points of the past, as ordinal and bytes: where the unacknowledged begins. */
    uint64_t acked_at;
    uint64_t point;
    uint64_t point_at;
} ss_acks;

/* host->ack and host->is_stopping reach the ring from now on. */
void ss_acks_start(ss_acks *acks, ss_consumer *consumer, const slipstream_delivery *delivery);

/* What it rejects is not heard any more. */
void ss_acks_end(ss_acks *acks);

/* Everything up to `last` needs no further call; `needs_ack`: but an ack. */
void ss_acks_finish_slowly(ss_acks *acks, uint64_t last, bool needs_ack);
/* The same where is_slow is false. */
static inline void ss_acks_finish_fast(ss_acks *acks, uint64_t last) {
    acks->done = last;
    /* model: replay consumer, store acked */
    ss_tell(&acks->control->acked, acks->key, SS_PLACE_ACKED, last);
}
static inline void ss_acks_finish(ss_acks *acks, uint64_t last, bool needs_ack) {
    if (acks->is_slow)
        ss_acks_finish_slowly(acks, last, needs_ack);
    else
        ss_acks_finish_fast(acks, last);
}
/* Before something is refused: from now on what is acknowledged takes account of that. */
void ss_acks_slow_down(ss_acks *acks);
/* Hears what was kept of the refusals. `all`: not before that is all of them. */
void ss_acks_hear(ss_acks *acks, bool all);

/* Are there refusals that the host has not kept yet, as far as was heard? [any thread] */
static inline bool ss_consumer_has_refused(const ss_consumer *consumer) {
    return atomic_load_explicit(&consumer->refused_count, memory_order_relaxed) !=
           atomic_load_explicit(&consumer->kept_count, memory_order_relaxed);
}
/* Was something kept since we heard last? */
static inline bool ss_acks_have_news(const ss_acks *acks) {
    const ss_consumer *consumer = acks->consumer;
    return acks->is_slow && atomic_load_explicit(&consumer->view.head->kept,
                                                 memory_order_acquire) -
                                    consumer->kept_base !=
                                consumer->kept_count;
}

/* Is something done and not acknowledged? */
static inline bool ss_acks_are_due(const ss_acks *acks) {
    return acks->are_explicit && atomic_load(&acks->consumer->acked) < acks->done;
}

/* Lets the plugin make durable what it has, if that is due. GO_ON, or how its flush ended the
 * consumer. */
int32_t ss_acks_flush(ss_acks *acks);
/* Nothing can be delivered now, and everything up to `at` (bytes) is done: is it time to flush?
 * If not, lowers *ms to when it may be. */
bool ss_acks_have_waited(ss_acks *acks, uint64_t at, uint64_t *ms);

/* Was a flush asked for, or is one under way for which there is more to do first? */
static inline bool ss_acks_are_asked(ss_acks *acks) {
    /* Pairs with the release in ss_queue_ask_flush. */
    acks->flush_seen =
        atomic_load_explicit(&acks->consumer->view.head->flush_wanted, memory_order_acquire);
    return acks->flush_asked || acks->flush_seen != acks->flush_number;
}
/* Answers the requests for whose events we are through; `at`: bytes taken out. As ss_acks_flush. */
int32_t ss_acks_answer(ss_acks *acks, uint64_t at);

#endif
