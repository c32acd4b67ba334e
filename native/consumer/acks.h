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
void ss_acks_start(ss_acks *acks, ss_consumer *consumer);

/* Everything up to `last` needs no further call; `needs_ack`: but an ack. */
void ss_acks_finish_explicit(ss_acks *acks, uint64_t last, bool needs_ack);
static inline void ss_acks_finish(ss_acks *acks, uint64_t last, bool needs_ack) {
    if (acks->are_explicit) {
        ss_acks_finish_explicit(acks, last, needs_ack);
        return;
    }
    acks->done = last;
    ss_tell(&acks->control->acked, acks->key, SS_PLACE_ACKED, last);
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
