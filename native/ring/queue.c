#include "ring/queue.h"

#include "base/clock.h"

#include <stdlib.h>
#include <string.h>

enum { NAP_NS = 200 * 1000 };

ss_port *ss_port_new(size_t bytes, uint32_t shared, uint32_t overflow, uint32_t block_timeout_ms) {
    ss_port *port = calloc(1, sizeof *port);
    if (port == NULL)
        return NULL;
    port->ring = ss_ring_new(bytes, shared != 0, overflow);
    port->overflow = overflow;
    port->block_timeout_ms = block_timeout_ms;
    if (port->ring == NULL) {
        free(port);
        return NULL;
    }
    return port;
}

void ss_port_free(ss_port *port) {
    if (port == NULL)
        return;
    ss_ring_free(port->ring);
    free(port);
}

static void lose_all(ss_port *port, const uint8_t *frames, size_t len, uint32_t reason) {
    for (size_t at = 0; at < len; at += slipstream_load_u32(frames + at))
        ss_ring_lose(port->ring, frames + at, reason);
}

/* Has a stalled port room again? Half of the ring is enough. */
static bool still_stalled(ss_port *port) {
    if (atomic_load_explicit(&port->stalled, memory_order_relaxed) == 0)
        return false;
    if (ss_ring_used(port->ring) > ss_ring_bytes(port->ring) / 2)
        return true;
    atomic_store_explicit(&port->stalled, 0, memory_order_relaxed);
    return false;
}

/* Frame by frame, where a run does not fit as a whole. True if all were put or lost. */
static bool put_piecewise(ss_port *port, const uint8_t *frames, size_t len, size_t *done) {
    while (*done < len) {
        const uint8_t *frame = frames + *done;
        const size_t frame_len = slipstream_load_u32(frame);
        if (!ss_ring_fits(port->ring, frame_len)) {
            port->too_large++;
            ss_ring_lose(port->ring, frame, SLIPSTREAM_GAP_TOO_LARGE);
        } else if (!ss_ring_put(port->ring, frame, frame_len, 1)) {
            if (port->overflow == SS_PORT_DROP_NEWEST)
                ss_ring_lose(port->ring, frame, SLIPSTREAM_GAP_DROPPED_NEWEST);
            else if (port->overflow == SS_PORT_DROP_OLDEST)
                ss_ring_lose(port->ring, frame, SLIPSTREAM_GAP_DROPPED_OLDEST);
            else if (still_stalled(port))
                ss_ring_lose(port->ring, frame, SLIPSTREAM_GAP_BLOCK_TIMEOUT);
            else if (atomic_load_explicit(&port->paused, memory_order_relaxed) != 0 ||
                     atomic_load_explicit(&port->held, memory_order_relaxed) != 0)
                ss_ring_lose(port->ring, frame, SLIPSTREAM_GAP_PAUSED);
            else
                return false;
        }
        *done += frame_len;
    }
    return true;
}

bool ss_port_put(ss_port *port, const uint8_t **frames, size_t *len, uint32_t count) {
    size_t done = 0;
    bool all;
    ss_lock_take(&port->lock);
    if (still_stalled(port)) {
        lose_all(port, *frames, *len, SLIPSTREAM_GAP_BLOCK_TIMEOUT);
        all = true;
    } else if (count > 0 && ss_ring_put(port->ring, *frames, *len, count)) {
        all = true;
    } else {
        all = put_piecewise(port, *frames, *len, &done);
        if (!all) /* a plugin that waits for its ack to be asked for would never make room */
            atomic_fetch_add_explicit(&ss_ring_get_head(port->ring)->flush_wanted, 1,
                                      memory_order_relaxed);
    }
    ss_ring_wake(port->ring);
    ss_lock_release(&port->lock);
    *frames += done;
    *len -= done;
    return all;
}

uint8_t *ss_port_reserve(ss_port *port, size_t len) {
    ss_lock_take(&port->lock);
    uint8_t *place = still_stalled(port) ? NULL : ss_ring_reserve(port->ring, len);
    if (place == NULL)
        ss_lock_release(&port->lock);
    return place;
}

void ss_port_commit(ss_port *port, size_t len) {
    ss_ring_commit(port->ring, len, 1);
    ss_ring_wake(port->ring);
    ss_lock_release(&port->lock);
}

void ss_port_hold_nobody(ss_port *port, bool held) {
    atomic_store_explicit(&port->held, held, memory_order_relaxed);
}

/* A bucket of ticks, as one of nanoseconds. */
static unsigned in_ns(unsigned bucket) {
    const uint64_t ns = ss_ticks_to_ns((UINT64_C(1) << bucket) - 1);
    const unsigned found = ns == 0 ? 0 : 64 - (unsigned)__builtin_clzll(ns);
    return found < SS_TIME_BUCKETS ? found : SS_TIME_BUCKETS - 1;
}

static void add_counters(ss_port_stats *sum, const ss_control *control) {
    sum->delivered += atomic_load_explicit(&control->delivered, memory_order_relaxed);
    sum->failed += atomic_load_explicit(&control->failed, memory_order_relaxed);
    sum->calls += atomic_load_explicit(&control->calls, memory_order_relaxed);
    sum->total_ns +=
        ss_ticks_to_ns(atomic_load_explicit(&control->call_ticks, memory_order_relaxed));
    for (unsigned i = 0; i < SS_TIME_BUCKETS; i++)
        sum->buckets[in_ns(i)] += atomic_load_explicit(&control->buckets[i], memory_order_relaxed);
}

void ss_port_tell_lost(ss_port *port) {
    const uint64_t lost = ss_ring_lost(port->ring);
    if (lost == port->lost_seen && !still_stalled(port))
        ss_ring_tell_lost(port->ring);
    port->lost_seen = lost;
}

void ss_port_attach_control(ss_port *port, ss_control *control) {
    const ss_control *old = ss_ring_get_control(port->ring);
    if (old != NULL && old != control)
        add_counters(&port->past, old);
    ss_ring_attach_control(port->ring, control);
}

void ss_port_give_up(ss_port *port, const uint8_t *frames, size_t len, bool stalled) {
    ss_lock_take(&port->lock);
    if (stalled)
        atomic_store_explicit(&port->stalled, 1, memory_order_relaxed);
    lose_all(port, frames, len, SLIPSTREAM_GAP_BLOCK_TIMEOUT);
    ss_lock_release(&port->lock);
}

void ss_port_rouse(ss_port *port) {
    atomic_fetch_add_explicit(&ss_ring_get_head(port->ring)->wake, 1, memory_order_seq_cst);
    ss_ring_wake(port->ring);
}

/* The boundary is set before it is wanted: whoever sees the number sees this boundary, or a
 * later one. */
void ss_port_want_stop(ss_port *port, uint64_t boundary, bool hurry) {
    ss_ring_head *head = ss_ring_get_head(port->ring);
    atomic_store(&head->boundary, boundary);
    atomic_store(&head->is_stopping, hurry);
    atomic_store(&head->stop_wanted, ++port->stops);
    ss_port_rouse(port);
}

void ss_port_clear_stop(ss_port *port) {
    ss_ring_head *head = ss_ring_get_head(port->ring);
    atomic_store(&head->is_stopping, 0);
    atomic_store(&head->stop_wanted, 0);
}

void ss_port_pause(ss_port *port, uint32_t paused) {
    ss_lock_take(&port->lock);
    atomic_store_explicit(&port->paused, paused, memory_order_relaxed);
    atomic_store_explicit(&ss_ring_get_head(port->ring)->paused, paused, memory_order_release);
    ss_port_rouse(port);
    ss_lock_release(&port->lock);
}

uint32_t ss_port_ask_flush(ss_port *port) {
    ss_ring_head *head = ss_ring_get_head(port->ring);
    ss_lock_take(&port->lock);
    ss_ring_tell_lost(port->ring);
    const uint32_t number =
        atomic_fetch_add_explicit(&head->flush_wanted, 1, memory_order_release) + 1;
    ss_ring_wake(port->ring);
    ss_lock_release(&port->lock);
    return number;
}

/* How the flush stands. The lock is held. */
static int32_t look_at_flush(ss_port *port, uint32_t *number, uint64_t ordinal) {
    ss_ring_head *head = ss_ring_get_head(port->ring);
    const ss_control *control = ss_ring_get_control(port->ring);
    ss_ring_tell_lost(port->ring);
    if (ss_ring_acked(port->ring) >= ordinal)
        return SLIPSTREAM_OK;
    if (control == NULL || !ss_ring_is_sane(port->ring))
        return SLIPSTREAM_TIMEOUT;
    /* Answered is what was asked for since; another number is none of a consumer in its senses. */
    const uint32_t wanted = atomic_load_explicit(&head->flush_wanted, memory_order_relaxed);
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

int32_t ss_port_flushed(ss_port *port, uint32_t *number, uint64_t ordinal, uint32_t ms) {
    const uint64_t end = ss_clock_ns(CLOCK_MONOTONIC) + (uint64_t)ms * 1000000;
    for (;;) {
        ss_lock_take(&port->lock);
        const int32_t status = look_at_flush(port, number, ordinal);
        ss_ring_wake(port->ring);
        ss_lock_release(&port->lock);
        if (status != SLIPSTREAM_TIMEOUT || ss_clock_ns(CLOCK_MONOTONIC) >= end)
            return status;
        const struct timespec nap = {0, NAP_NS};
        nanosleep(&nap, NULL);
    }
}

void ss_port_describe(ss_port *port, ss_port_stats *out) {
    ss_lock_take(&port->lock);
    const ss_control *control = ss_ring_get_control(port->ring);
    *out = port->past;
    out->broadcast = ss_ring_last(port->ring);
    out->acknowledged = ss_ring_acked(port->ring);
    out->dropped = ss_ring_lost(port->ring);
    out->used_bytes = ss_ring_used(port->ring);
    out->is_stalled = still_stalled(port);
    out->is_paused = atomic_load_explicit(&port->paused, memory_order_relaxed);
    if (control != NULL)
        add_counters(out, control);
    ss_lock_release(&port->lock);
}

const uint8_t *ss_port_leftover(ss_port *port, uint64_t *ordinal, size_t *len) {
    const uint8_t *frame = NULL;
    ss_lock_take(&port->lock);
    const uint64_t last = ss_ring_last(port->ring);
    if (*ordinal < ss_ring_acked(port->ring))
        *ordinal = ss_ring_acked(port->ring);
    while (frame == NULL && *ordinal < last)
        frame = ss_ring_find(port->ring, ++*ordinal, len);
    ss_lock_release(&port->lock);
    return frame;
}
