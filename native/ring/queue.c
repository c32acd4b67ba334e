#include "ring/queue.h"

#include "base/clock.h"

#include <stdlib.h>
#include <string.h>

enum { NAP_NS = 200 * 1000 };

ss_queue *ss_queue_new(size_t bytes, uint32_t shared, uint32_t overflow,
                       uint32_t block_timeout_ms) {
    ss_os_forget_refused_call(); /* of an earlier one */
    ss_queue *queue = calloc(1, sizeof *queue);
    if (queue == NULL)
        return NULL;
    queue->ring = ss_ring_new(bytes, shared != 0, overflow);
    queue->overflow = overflow;
    queue->block_timeout_ms = block_timeout_ms;
    if (queue->ring == NULL) {
        free(queue);
        return NULL;
    }
    return queue;
}

void ss_queue_free(ss_queue *queue) {
    if (queue == NULL)
        return;
    ss_log_queue *log = ss_ring_losses(queue->ring)->log;
    if (log != NULL)
        ss_log_queue_release(log);
    ss_ring_free(queue->ring);
    free(queue);
}

void ss_queue_set_log(ss_queue *queue, ss_log_queue *log, uint32_t log_id) {
    ss_lock_take(&queue->lock);
    ss_losses *losses = ss_ring_losses(queue->ring);
    if (losses->log == NULL)
        ss_log_queue_retain(log);
    losses->log = log;
    losses->log_id = log_id;
    ss_lock_release(&queue->lock);
}

/* Why an event is lost that has no room; 0: it is to wait. */
static uint32_t full_reason(const ss_queue *queue, bool stalled) {
    const uint32_t held = atomic_load_explicit(&queue->held, memory_order_relaxed);
    if (queue->overflow == SS_OVERFLOW_DROP_OLDEST)
        return SLIPSTREAM_GAP_DROPPED_OLDEST;
    if (held != 0)
        return held;
    if (queue->overflow == SS_OVERFLOW_DROP_NEWEST)
        return SLIPSTREAM_GAP_DROPPED_NEWEST;
    if (atomic_load_explicit(&queue->paused, memory_order_relaxed) != 0)
        return SLIPSTREAM_GAP_PAUSED;
    return stalled ? SLIPSTREAM_GAP_BLOCK_TIMEOUT : 0;
}

static void lose_all(ss_queue *queue, const uint8_t *frames, size_t len, uint32_t reason) {
    for (size_t at = 0; at < len; at += slipstream_load_u32(frames + at))
        ss_ring_lose(queue->ring, frames + at, reason);
}

/* Has a stalled queue room again? Half of the ring is enough. */
static bool still_stalled(ss_queue *queue) {
    if (atomic_load_explicit(&queue->stalled, memory_order_relaxed) == 0)
        return false;
    if (ss_ring_used(queue->ring) > ss_ring_bytes(queue->ring) / 2)
        return true;
    atomic_store_explicit(&queue->stalled, 0, memory_order_relaxed);
    return false;
}

/* Frame by frame, where a run does not fit as a whole. True if all were put or lost. */
static bool put_piecewise(ss_queue *queue, const uint8_t *frames, size_t len, size_t *done) {
    while (*done < len) {
        const uint8_t *frame = frames + *done;
        const size_t frame_len = slipstream_load_u32(frame);
        if (!ss_ring_fits(queue->ring, frame_len)) {
            queue->too_large++;
            ss_ring_lose(queue->ring, frame, SLIPSTREAM_GAP_TOO_LARGE);
        } else if (!ss_ring_put(queue->ring, frame, frame_len, 1)) {
            const uint32_t reason = full_reason(queue, still_stalled(queue));
            if (reason == 0)
                return false;
            ss_ring_lose(queue->ring, frame, reason);
        }
        *done += frame_len;
    }
    return true;
}

bool ss_queue_put(ss_queue *queue, const uint8_t **frames, size_t *len, uint32_t count,
                  bool *must_wake) {
    size_t done = 0;
    bool all;
    ss_lock_take(&queue->lock);
    if (still_stalled(queue)) {
        lose_all(queue, *frames, *len, full_reason(queue, true));
        all = true;
    } else if (count > 0 && ss_ring_put(queue->ring, *frames, *len, count)) {
        all = true;
    } else {
        all = put_piecewise(queue, *frames, *len, &done);
        if (!all) /* a plugin that waits for its ack to be asked for would never make room */
            atomic_fetch_add_explicit(&ss_ring_get_head(queue->ring)->flush_wanted, 1,
                                      memory_order_relaxed);
    }
    *must_wake |= ss_ring_must_wake(queue->ring);
    ss_lock_release(&queue->lock);
    *frames += done;
    *len -= done;
    return all;
}

uint8_t *ss_queue_reserve(ss_queue *queue, size_t len) {
    ss_lock_take(&queue->lock);
    uint8_t *place = still_stalled(queue) ? NULL : ss_ring_reserve(queue->ring, len);
    if (place == NULL)
        ss_lock_release(&queue->lock);
    return place;
}

void ss_queue_commit(ss_queue *queue, size_t len) {
    ss_ring_commit(queue->ring, len, 1);
    ss_ring_wake(queue->ring);
    ss_lock_release(&queue->lock);
}

void ss_queue_hold_nobody(ss_queue *queue, uint32_t reason) {
    atomic_store_explicit(&queue->held, reason, memory_order_relaxed);
}

/* A bucket of ticks, as one of nanoseconds. */
static unsigned in_ns(unsigned bucket) {
    return ss_histogram_bucket(ss_ticks_to_ns((UINT64_C(1) << bucket) - 1));
}

static void add_counters(ss_stats *sum, const ss_control *control) {
    sum->samples += atomic_load_explicit(&control->calls, memory_order_relaxed);
    sum->total_ns +=
        ss_ticks_to_ns(atomic_load_explicit(&control->call_ticks, memory_order_relaxed));
    for (unsigned i = 0; i < SS_TIME_BUCKETS; i++)
        sum->buckets[in_ns(i)] += atomic_load_explicit(&control->buckets[i], memory_order_relaxed);
}

void ss_queue_tell_lost(ss_queue *queue) {
    const uint64_t lost = ss_ring_lost(queue->ring);
    if (lost == queue->lost_seen && !still_stalled(queue))
        ss_ring_tell_lost(queue->ring);
    queue->lost_seen = lost;
}

void ss_queue_attach_control(ss_queue *queue, ss_control *control) {
    const ss_control *old = ss_ring_get_control(queue->ring);
    if (old != NULL && old != control)
        add_counters(&queue->past, old);
    ss_ring_attach_control(queue->ring, control);
}

void ss_queue_give_up(ss_queue *queue, const uint8_t *frames, size_t len, bool stalled) {
    ss_lock_take(&queue->lock);
    if (stalled)
        atomic_store_explicit(&queue->stalled, 1, memory_order_relaxed);
    lose_all(queue, frames, len, SLIPSTREAM_GAP_BLOCK_TIMEOUT);
    ss_lock_release(&queue->lock);
}

void ss_queue_rouse(ss_queue *queue) {
    atomic_fetch_add_explicit(&ss_ring_get_head(queue->ring)->wake, 1, memory_order_seq_cst);
    ss_ring_wake(queue->ring);
}

/* The boundary is set before it is wanted: whoever sees the number (must_stop of the consumer)
 * sees this boundary, or a later one. */
void ss_queue_want_stop(ss_queue *queue, uint64_t boundary, bool hurry) {
    ss_ring_head *head = ss_ring_get_head(queue->ring);
    atomic_store(&head->boundary, boundary);
    atomic_store(&head->is_stopping, hurry);
    atomic_store(&head->stop_wanted, ++queue->stops);
    ss_queue_rouse(queue);
}

void ss_queue_clear_stop(ss_queue *queue) {
    ss_ring_head *head = ss_ring_get_head(queue->ring);
    atomic_store(&head->is_stopping, 0);
    atomic_store(&head->stop_wanted, 0);
}

bool ss_queue_is_retrying(const ss_queue *queue) {
    const ss_control *control = ss_ring_get_control(queue->ring);
    return control != NULL &&
           atomic_load_explicit(&control->retrying, memory_order_relaxed) != 0;
}

void ss_queue_pause(ss_queue *queue, uint32_t paused) {
    ss_lock_take(&queue->lock);
    atomic_store_explicit(&queue->paused, paused, memory_order_relaxed);
    /* Pairs with the acquire in is_paused of the consumer. */
    atomic_store_explicit(&ss_ring_get_head(queue->ring)->paused, paused, memory_order_release);
    ss_queue_rouse(queue);
    ss_lock_release(&queue->lock);
}

uint32_t ss_queue_ask_flush(ss_queue *queue) {
    ss_ring_head *head = ss_ring_get_head(queue->ring);
    ss_lock_take(&queue->lock);
    ss_ring_tell_lost(queue->ring);
    /* Pairs with the acquire in ss_acks_are_asked: a flush covers what was put before. */
    const uint32_t number =
        atomic_fetch_add_explicit(&head->flush_wanted, 1, memory_order_release) + 1;
    ss_ring_wake(queue->ring);
    ss_lock_release(&queue->lock);
    return number;
}

/* How the flush stands. The lock is held. */
static int32_t look_at_flush(ss_queue *queue, uint32_t *number, uint64_t ordinal) {
    ss_ring_head *head = ss_ring_get_head(queue->ring);
    const ss_control *control = ss_ring_get_control(queue->ring);
    ss_ring_tell_lost(queue->ring);
    if (ss_ring_acked(queue->ring) >= ordinal)
        return SLIPSTREAM_OK;
    if (control == NULL || !ss_ring_is_sane(queue->ring))
        return SLIPSTREAM_TIMEOUT;
    /* Answered is what was asked for since; another number is none of a consumer in its senses. */
    const uint32_t wanted = atomic_load_explicit(&head->flush_wanted, memory_order_relaxed);
    /* Pairs with the release in ss_acks_answer. */
    const uint32_t done = atomic_load_explicit(&control->flush_done, memory_order_acquire);
    if (wanted - done > wanted - *number)
        return SLIPSTREAM_TIMEOUT;
    const int32_t status = atomic_load_explicit(&control->flush_status, memory_order_relaxed);
    if (status != SLIPSTREAM_OK)
        return status;
    /* A part was lost, and could not be told of when the flush was asked for. */
    *number = atomic_fetch_add_explicit(&head->flush_wanted, 1, memory_order_release) + 1;
    return SLIPSTREAM_TIMEOUT;
}

int32_t ss_queue_flushed(ss_queue *queue, uint32_t *number, uint64_t ordinal, uint32_t ms) {
    const uint64_t end = ss_os_now_ns() + (uint64_t)ms * 1000000;
    for (;;) {
        ss_lock_take(&queue->lock);
        const int32_t status = look_at_flush(queue, number, ordinal);
        ss_ring_wake(queue->ring);
        ss_lock_release(&queue->lock);
        if (status != SLIPSTREAM_TIMEOUT || ss_os_now_ns() >= end)
            return status;
        ss_os_sleep_ns(NAP_NS);
    }
}

void ss_queue_describe(ss_queue *queue, ss_stats *out) {
    ss_lock_take(&queue->lock);
    const ss_control *control = ss_ring_get_control(queue->ring);
    *out = queue->past;
    /* First, since each of the two hears what is acknowledged: the counts are never behind it. */
    out->acknowledged = ss_ring_acked(queue->ring);
    out->waiting = ss_ring_count_waiting(queue->ring);
    const ss_outcomes *outcomes = ss_ring_outcomes(queue->ring);
    out->accepted = ss_ring_last(queue->ring);
    out->delivered = outcomes->delivered;
    out->dead = outcomes->dead;
    out->told = outcomes->told;
    out->undelivered = outcomes->undelivered;
    out->dead_unkept = outcomes->dead_unkept;
    out->lost = ss_ring_lost(queue->ring);
    memcpy(out->lost_for, ss_ring_losses(queue->ring)->by, sizeof out->lost_for);
    out->ring_bytes = ss_ring_bytes(queue->ring);
    out->ring_used = ss_ring_used(queue->ring);
    if (atomic_load_explicit(&queue->paused, memory_order_relaxed) != 0)
        out->state = SS_SLOT_PAUSED;
    else if (still_stalled(queue))
        out->state = SS_SLOT_STALLED;
    if (control != NULL) {
        add_counters(out, control);
        /* Pairs with the release in show (answers.c). */
        out->retrying = atomic_load_explicit(&control->retrying, memory_order_acquire);
        out->retrying_since_ns =
            atomic_load_explicit(&control->retrying_since_ns, memory_order_relaxed);
    }
    ss_lock_release(&queue->lock);
}

const uint8_t *ss_queue_leftover(ss_queue *queue, uint64_t *ordinal, size_t *len) {
    ss_lock_take(&queue->lock);
    const uint8_t *frame = ss_ring_leftover(queue->ring, ordinal, len, queue->gap);
    ss_lock_release(&queue->lock);
    return frame;
}

void ss_queue_abandon(ss_queue *queue) {
    ss_lock_take(&queue->lock);
    ss_ring_acked(queue->ring);
    ss_outcomes_abandon(ss_ring_outcomes(queue->ring), ss_ring_last(queue->ring));
    ss_lock_release(&queue->lock);
}
