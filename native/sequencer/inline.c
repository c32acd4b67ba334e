/* inline: calling a plugin on the broadcasting thread. */
#include "sequencer/types.h"

#include "frame/usual.h"

#include <stdlib.h>
#include <string.h>

enum { SAMPLE_EVERY = 64 }; /* one callback in so many is timed */

static bool is_taken(int32_t status) {
    return status == SLIPSTREAM_OK || status == SLIPSTREAM_IGNORED;
}

static void sample(ss_slot *s, uint64_t ns) {
    ss_counter_add(&s->buckets[ss_histogram_bucket(ns)], 1);
    ss_counter_add(&s->samples, 1);
    ss_counter_add(&s->total_ns, ns);
}

static int32_t call_timed(ss_slot *s, const uint8_t *frames, size_t len) {
    const uint64_t start = ss_ticks();
    const int32_t status = s->call(s->instance, &s->delivery, frames, len);
    sample(s, ss_ticks_to_ns(ss_ticks() - start));
    return status;
}

/* A call for a run, or a GAP, with the delivery as it stands. */
static int32_t call_slot(ss_slot *s, const uint8_t *frames, size_t len) {
    if (s->host != NULL) {
        s->host->error_len = 0;
        /* Pairs with the acquire in the host's ack, which may come from any thread. */
        atomic_store_explicit(&s->host->delivered,
                              s->delivery.first_ordinal + s->delivery.count - 1,
                              memory_order_release);
    }
    return call_timed(s, frames, len);
}

/* Behind a call: are we a child that it has forked, and that has come back from it? */
static inline bool is_disowned(ss_sequencer *sequencer) {
    if (__builtin_expect(ss_os_is_process(sequencer->process), 1))
        return false;
    ss_sequencer_disown(sequencer);
    return true;
}

/* Around the calls of one piece to one slot: set_error belongs to calls in between. */
static inline void enter_slot(ss_sequencer *sequencer, const ss_slot *s) {
    atomic_store_explicit(&sequencer->busy, (int32_t)s->id, memory_order_relaxed);
    if (s->host != NULL)
        ss_host_enter(s->host, ss_os_self());
}

static inline void leave_slot(ss_sequencer *sequencer, const ss_slot *s) {
    if (s->host != NULL)
        ss_host_leave(s->host);
    atomic_store_explicit(&sequencer->busy, -1, memory_order_relaxed);
}

/* FATAL and PANIC: the plugin gets nothing more. After a PANIC only destroy is called. */
static void give_up(ss_sequencer *sequencer, ss_slot *s, int32_t status) {
    s->kinds = 0;
    atomic_store_explicit(&s->state, SS_SLOT_FAILED, memory_order_relaxed);
    if (status == SLIPSTREAM_PANIC && s->host != NULL)
        atomic_store_explicit(&s->host->life, SS_UNLOADED, memory_order_release);
    ss_slots_refresh(sequencer);
}

static void refuse(ss_slot *s, const ss_letter *letter) {
    s->refused++;
    if (s->letters != NULL)
        s->added += ss_letters_add(s->letters, letter);
}

/* What follows a call that failed, for `count` frames of which the last has the ordinal that was
 * given out last. */
static void handle_failure(ss_sequencer *sequencer, ss_slot *s, int32_t status,
                           const uint8_t *frame, uint32_t count) {
    const char *text = s->host != NULL ? s->host->error : "";
    const size_t text_len = s->host != NULL ? s->host->error_len : 0;
    atomic_store_explicit(&s->status, status, memory_order_relaxed);
    ss_host_log_failure(sequencer->log, s->log_id, s->host, status, frame, s->ordinal - count + 1,
                        count);
    if (s->host != NULL)
        ss_host_forget_rejections(&s->host->settle, s->ordinal - count + 1);
    for (uint64_t ordinal = s->ordinal - count + 1; ordinal <= s->ordinal; ordinal++) {
        const size_t len = slipstream_load_u32(frame);
        refuse(s, &(ss_letter){ordinal, status, s->delivery.attempt, text, text_len, frame, len});
        frame += len;
    }
    if (status == SLIPSTREAM_FATAL || status == SLIPSTREAM_PANIC) {
        s->behind = count;
        give_up(sequencer, s, status);
    }
}

/* What was rejected of a piece whose frames of these kinds have the ordinals behind `before`. */
static void handle_rejections(ss_slot *s, uint64_t kinds, const uint8_t *frame, uint64_t before) {
    ss_rejection *rejections;
    const size_t count = ss_host_take_rejections(&s->host->settle, &rejections);
    uint64_t ordinal = before;
    for (size_t i = 0; i < count; i++) {
        ss_rejection *one = &rejections[i];
        for (;; frame += slipstream_load_u32(frame)) {
            ordinal += kinds >> slipstream_load_u16(frame + 6) & 1;
            if (ordinal == one->ordinal)
                break;
        }
        ss_host_log_rejection(s->host->log, s->log_id, one);
        refuse(s, &(ss_letter){ordinal, one->status, s->delivery.attempt, one->text, one->len,
                               frame, slipstream_load_u32(frame)});
        frame += slipstream_load_u32(frame);
        ss_rejection_free(one);
    }
    free(rejections);
}

/* Dead letters are durable before they count. */
static __attribute__((noinline)) uint64_t keep_refused(ss_slot *s) {
    const uint64_t refused = s->refused;
    const bool kept = s->letters != NULL && ss_letters_write(s->letters);
    const uint64_t unkept = refused - (kept ? s->added : 0);
    s->refused = s->added = 0;
    ss_counter_show(&s->accepted, s->ordinal);
    ss_counter_show(&s->dead_unkept, ss_counter_read(&s->dead_unkept) + unkept);
    ss_counter_show(&s->dead, ss_counter_read(&s->dead) + refused);
    return refused;
}

/* Counts a piece: what went to the plugin since ordinal `before`. */
static void count_piece(ss_slot *s, uint64_t before) {
    const uint64_t refused = s->refused == 0 ? 0 : keep_refused(s);
    ss_counter_set(&s->accepted, s->ordinal);
    ss_counter_show(&s->delivered,
                    ss_counter_read(&s->delivered) + (s->ordinal - before - refused));
    ss_counter_show(&s->settled, s->ordinal);
}

/* The GAP has the ordinal of the last lost event. */
void ss_slot_tell_gap(ss_sequencer *sequencer, ss_slot *s) {
    uint8_t frame[SS_GAP_FRAME_LEN];
    const ss_gap_block gap = s->pending;
    if (gap.last == 0)
        return;
    ss_gap_write(frame, &gap);
    ss_host_log_gap(sequencer->log, s->log_id, gap.first, gap.last);
    s->delivery.first_ordinal = gap.last;
    enter_slot(sequencer, s);
    const int32_t status = call_slot(s, frame, sizeof frame);
    if (is_disowned(sequencer))
        return;
    if (s->host != NULL) /* of a GAP nothing is left once it is answered */
        ss_host_forget_rejections(&s->host->settle, 0);
    if (!is_taken(status)) {
        atomic_store_explicit(&s->status, status, memory_order_relaxed);
        ss_host_log_failure(sequencer->log, s->log_id, s->host, status, frame, gap.last, 1);
    }
    if (status == SLIPSTREAM_FATAL || status == SLIPSTREAM_PANIC) {
        give_up(sequencer, s, status);
    } else {
        ss_os_mutex_lock(&sequencer->slots_lock);
        s->pending = (ss_gap_block){0};
        ss_counter_add(&s->told, gap.last - gap.first + 1);
        ss_os_mutex_unlock(&sequencer->slots_lock);
    }
    leave_slot(sequencer, s);
}

static uint32_t missing_reason(const ss_slot *s) {
    return atomic_load_explicit(&s->state, memory_order_relaxed) == SS_SLOT_RELOADING
               ? SLIPSTREAM_GAP_RELOAD
               : SLIPSTREAM_GAP_PAUSED;
}

/* Frames to a slot that is running, one by one. This is a hot loop: what cannot change
 * meanwhile is in locals, counters are written once. */
static void deliver_singly(ss_sequencer *sequencer, ss_slot *s, const uint8_t *frames, size_t len,
                           uint32_t attempt) {
    ss_host *const host = s->host;
    const ss_on_broadcast call = s->call;
    const uint64_t before = s->ordinal;
    const uint64_t wanted = s->kinds;
    uint64_t kinds = wanted;
    s->delivery.count = 1;
    s->delivery.attempt = attempt;
    for (size_t at = 0, frame_len; at < len; at += frame_len) {
        const uint8_t *frame = frames + at;
        frame_len = slipstream_load_u32(frame);
        if ((kinds >> slipstream_load_u16(frame + 6) & 1) == 0)
            continue;
        s->delivery.first_ordinal = ++s->ordinal;
        if (host != NULL) {
            host->error_len = 0;
            atomic_store_explicit(&host->delivered, s->ordinal, memory_order_release);
        }
        const int32_t status = s->ordinal % SAMPLE_EVERY == 1
                                   ? call_timed(s, frame, frame_len)
                                   : call(s->instance, &s->delivery, frame, frame_len);
        if (is_disowned(sequencer))
            return;
        if (status == SLIPSTREAM_OK)
            continue;
        if (status != SLIPSTREAM_IGNORED)
            handle_failure(sequencer, s, status, frame, 1);
        else if (host != NULL)
            ss_host_forget_rejections(&host->settle, s->ordinal);
        kinds = s->kinds;
    }
    if (host != NULL && host->settle.count > 0)
        handle_rejections(s, wanted, frames, before);
    s->delivery.attempt = 1;
    count_piece(s, before);
}

/* The hottest loop: checks and calls in one pass, up to `end`. It stands alone, and reads the
 * slot anew each time, for what it keeps beside would be saved around every call. `at` moves on
 * over what was taken. */
static __attribute__((noinline)) int32_t stream(ss_slot *s, const uint8_t **at,
                                                const uint8_t *end) {
    const uint8_t *frame = *at;
    uint64_t ordinal = s->ordinal;
    int32_t status = SLIPSTREAM_OK;
    while (ss_frame_is_usual(frame, (size_t)(end - frame)) && ss_frame_is_stamped(frame)) {
        const size_t frame_len = slipstream_load_u32(frame);
        const bool timed = ordinal % SAMPLE_EVERY == 0;
        s->delivery.first_ordinal = ++ordinal;
        s->host->error_len = 0; /* a text belongs to one call */
        atomic_store_explicit(&s->host->delivered, ordinal, memory_order_release);
        status = timed ? call_timed(s, frame, frame_len)
                       : s->call(s->instance, &s->delivery, frame, frame_len);
        if (__builtin_expect(!ss_os_is_process(s->host->process), 0))
            break;
        if (status != SLIPSTREAM_OK) {
            if (!is_taken(status))
                break;
            ss_host_forget_rejections(&s->host->settle, ordinal);
        }
        frame += frame_len;
    }
    *at = frame;
    s->ordinal = ordinal;
    return status;
}

void ss_slot_deliver_unchecked(ss_sequencer *sequencer, ss_slot *s, const uint8_t *frames,
                               size_t len, ss_sent *sent) {
    const uint64_t before = s->ordinal;
    const uint8_t *at = frames;
    enter_slot(sequencer, s);
    const int32_t status = stream(s, &at, frames + ss_frame_room(len));
    if (is_disowned(sequencer))
        return;
    if (!is_taken(status)) {
        handle_failure(sequencer, s, status, at, 1);
        at += slipstream_load_u32(at);
    }
    if (s->host->settle.count > 0)
        handle_rejections(s, UINT64_MAX, frames, before);
    count_piece(s, before);
    leave_slot(sequencer, s);
    sent->offset += (uint64_t)(at - frames);
    sent->index += s->ordinal - before;
}

void ss_slot_miss(ss_sequencer *sequencer, ss_slot *s, uint64_t kinds, const uint8_t *frames,
                  size_t len) {
    const uint64_t before = s->ordinal;
    ss_os_mutex_lock(&sequencer->slots_lock);
    for (size_t at = 0; at < len; at += slipstream_load_u32(frames + at)) {
        if ((kinds >> slipstream_load_u16(frames + at + 6) & 1) == 0)
            continue;
        const ss_gap_block one = ss_gap_of(frames + at, ++s->ordinal, missing_reason(s));
        ss_gap_add(&s->pending, &one);
    }
    s->losses.log = sequencer->log;
    s->losses.log_id = s->log_id;
    ss_losses_note(&s->losses, before + 1, s->ordinal - before, missing_reason(s));
    ss_counter_add(&s->lost, s->ordinal - before);
    ss_counter_set(&s->accepted, s->ordinal);
    ss_counter_show(&s->settled, s->ordinal);
    ss_os_mutex_unlock(&sequencer->slots_lock);
}

/* `count` neighbouring frames, all wanted, to a slot that takes runs. */
static void deliver_run(ss_sequencer *sequencer, ss_slot *s, const uint8_t *frames, size_t len,
                        uint32_t count) {
    const uint64_t before = s->ordinal;
    s->delivery.count = count;
    s->delivery.first_ordinal = before + 1;
    const int32_t status = call_slot(s, frames, len);
    if (is_disowned(sequencer))
        return;
    const bool ends = status == SLIPSTREAM_FATAL || status == SLIPSTREAM_PANIC;
    s->delivery.count = 1;
    if (!is_taken(status) && count > 1 && !ends) { /* it has undone the run: one by one */
        ss_host_forget_rejections(&s->host->settle, 0);
        deliver_singly(sequencer, s, frames, len, 2);
        return;
    }
    s->ordinal += count;
    if (!is_taken(status))
        handle_failure(sequencer, s, status, frames, count);
    else if (status != SLIPSTREAM_OK)
        ss_host_forget_rejections(&s->host->settle, 0);
    else if (s->host->settle.count > 0)
        handle_rejections(s, UINT64_MAX, frames, before);
    count_piece(s, before);
}

static void deliver_runs(ss_sequencer *sequencer, ss_slot *s, const uint8_t *frames, size_t len) {
    size_t start = 0;
    uint32_t count = 0;
    size_t at = 0;
    while (at < len && s->kinds != 0) {
        const uint8_t *frame = frames + at;
        const size_t frame_len = slipstream_load_u32(frame);
        const bool wanted = (s->kinds >> slipstream_load_u16(frame + 6) & 1) != 0;
        if (wanted && count == 0)
            start = at;
        if (!wanted && count > 0) {
            deliver_run(sequencer, s, frames + start, at - start, count);
            count = 0;
        }
        count += wanted;
        at += frame_len;
    }
    if (count > 0 && s->kinds != 0)
        deliver_run(sequencer, s, frames + start, at - start, count);
}

void ss_slot_deliver(ss_sequencer *sequencer, ss_slot *s, const uint8_t *frames, size_t len) {
    enter_slot(sequencer, s);
    if ((s->flags & SLIPSTREAM_FLAG_BATCH) != 0)
        deliver_runs(sequencer, s, frames, len);
    else
        deliver_singly(sequencer, s, frames, len, 1);
    leave_slot(sequencer, s);
}
