/* queues: events into rings, and what happens when one is full. */
#include "sequencer/types.h"

enum {
    NAP_NS = 20 * 1000, /* between two looks for room, at first */
    NAP_MAX_NS = 1000 * 1000,
    LOOK_EVERY_NS = 100 * 1000 * 1000,
};

/* The run of neighbouring frames of these kinds at the start; *count of them. */
static size_t wanted_run(uint64_t kinds, const uint8_t *frames, size_t len, uint32_t *count) {
    size_t run = 0;
    *count = 0;
    while (run < len && (kinds >> slipstream_load_u16(frames + run + 6) & 1) != 0) {
        run += slipstream_load_u32(frames + run);
        ++*count;
    }
    return run;
}

/* Those of the frames that are of these kinds into a queue, as runs of neighbouring ones; `known`
 * of them, or 0: see ss_slot_put. False if it has to wait for room; then *done says how far it
 * got. */
static bool push(ss_sequencer *sequencer, ss_slot *s, uint64_t kinds, const uint8_t *frames,
                 size_t len, uint32_t known, size_t *done) {
    const uint32_t too_large = s->queue->too_large;
    bool all = true;
    bool must_wake = false;
    while (all && *done < len) {
        const uint8_t *start = frames + *done;
        uint32_t count = known;
        const size_t run = known != 0 ? len : wanted_run(kinds, start, len - *done, &count);
        if (count == 0) {
            *done += slipstream_load_u32(start); /* not wanted */
            continue;
        }
        const uint8_t *left = start;
        size_t left_len = run;
        all = ss_queue_put(s->queue, &left, &left_len, count, &must_wake);
        *done += all ? run : run - left_len;
    }
    sequencer->too_large += s->queue->too_large - too_large;
    if (must_wake)
        ss_slot_must_wake(sequencer, s);
    return all;
}

void ss_slot_put(ss_sequencer *sequencer, ss_slot *s, uint64_t kinds, const uint8_t *frames,
                 size_t len, uint32_t count) {
    size_t done = 0;
    if (s->waiting != NULL) {
        s->waiting_len += len;
        return;
    }
    if (push(sequencer, s, kinds, frames, len, count, &done))
        return;
    s->waiting = frames + done;
    s->waiting_len = len - done;
    s->waiting_kinds = kinds;
    s->waiting_since = 0;
    sequencer->waiting++;
}

/* What could not wait any longer. */
static void lose_waiting(const ss_sequencer *sequencer, const ss_slot *s, uint64_t waited_ns) {
    for (size_t at = 0, len; at < s->waiting_len; at += len) {
        const uint8_t *frame = s->waiting + at;
        len = slipstream_load_u32(frame);
        if ((s->waiting_kinds >> slipstream_load_u16(frame + 6) & 1) != 0)
            ss_queue_give_up(s->queue, frame, len, !sequencer->hurry);
    }
    if (sequencer->hurry && waited_ns == 0)
        return; /* said before, of what this call sent earlier */
    ss_log_queue_format(sequencer->log, SLIPSTREAM_LOG_ERROR, s->log_id,
                        sequencer->hurry
                            ? "its ring was full for %.3g s when the broadcast was "
                              "interrupted: events are lost"
                            : "its ring stayed full for %.3g s: stalled, events are lost "
                              "until it is half empty",
                        (double)waited_ns / 1e9);
}

/* True if the slot need not wait any more: all is in, or lost. */
static bool try_waiting(ss_sequencer *sequencer, ss_slot *s, uint64_t now) {
    size_t done = 0;
    if (push(sequencer, s, s->waiting_kinds, s->waiting, s->waiting_len, 0, &done))
        return true;
    s->waiting += done;
    s->waiting_len -= done;
    if (done > 0 || s->waiting_since == 0)
        s->waiting_since = now; /* the time counts for each event */
    if (!sequencer->hurry &&
        now - s->waiting_since < s->queue->block_timeout_ms * UINT64_C(1000000))
        return false;
    lose_waiting(sequencer, s, now - s->waiting_since);
    return true;
}

void ss_sequencer_wait_for_room(ss_sequencer *sequencer) {
    uint64_t look = ss_os_now_ns() + LOOK_EVERY_NS;
    uint64_t nap_ns = NAP_NS;
    while (sequencer->waiting > 0) {
        const uint64_t now = ss_os_now_ns();
        for (uint32_t i = 0; i < sequencer->count; i++) {
            ss_slot *s = sequencer->slots[i];
            if (s->waiting == NULL)
                continue;
            /* What a signal handler sends is kept until later, as if it were a callback. */
            atomic_store_explicit(&sequencer->busy, (int32_t)s->id, memory_order_relaxed);
            if (!try_waiting(sequencer, s, now))
                continue;
            s->waiting = NULL;
            sequencer->waiting--;
        }
        ss_sequencer_wake_sleepers(sequencer);
        if (sequencer->waiting == 0)
            break;
        if (now >= look) {
            sequencer->hurry =
                sequencer->hurry || (sequencer->interrupted != NULL && sequencer->interrupted());
            if (!ss_os_is_process(sequencer->process)) /* a signal's handler has forked us */
                ss_sequencer_disown(sequencer);
            look = now + LOOK_EVERY_NS;
        }
        ss_os_sleep_ns(nap_ns);
        nap_ns = nap_ns < NAP_MAX_NS ? nap_ns * 2 : NAP_MAX_NS;
    }
    atomic_store_explicit(&sequencer->busy, -1, memory_order_relaxed);
}

uint8_t *ss_sequencer_reserve_in_ring(ss_sequencer *sequencer, uint64_t kind_bit, size_t len,
                                      ss_queue **queue) {
    ss_slot *found = NULL;
    if (ss_sequencer_inside_callback(sequencer))
        return NULL;
    for (uint32_t i = 0; i < sequencer->count; i++) {
        ss_slot *s = sequencer->slots[i];
        if ((s->kinds & kind_bit) == 0)
            continue;
        if (found != NULL || s->queue == NULL || s->waiting != NULL)
            return NULL;
        found = s;
    }
    if (found == NULL)
        return NULL;
    *queue = found->queue;
    return ss_queue_reserve(found->queue, len);
}
