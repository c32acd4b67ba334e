#include "consumer/loop.h"

#include "consumer/acks.h"

enum {
    RUN_BYTES = 1024 * 1024,
    RUN_FRAMES = 4096,
    TIMED_TOGETHER = 16,
    PARK_MS = 10 * 1000,
};

/* ---- What the host wants --------------------------------------------------------------- */

static bool something_to_do(void *context) {
    const loop *l = context;
    return (must_stop(l) && boundary(l) != l->stop_seen) ||
           ss_acks_have_news(&l->acks) ||
           atomic_load_explicit(&l->head->flush_wanted, memory_order_acquire) !=
               l->acks.flush_seen ||
           (!is_paused(l) &&
            atomic_load_explicit(&l->head->head, memory_order_acquire) != l->cursor.at);
}

/* Nothing can be delivered now: flushes if it is time, else sleeps. */
static int32_t idle(loop *l) {
    uint64_t ms = PARK_MS;
    l->call_end = 0;
    if (ss_acks_have_waited(&l->acks, l->cursor.at, &ms))
        return ss_acks_flush(&l->acks);
    ss_cursor_park(&l->cursor, something_to_do, l, ms);
    return GO_ON;
}

/* May the event or GAP that starts with this ordinal be delivered? Waits while paused. */
static bool may_deliver(loop *l, uint64_t first, int32_t *end) {
    while (is_paused(l) && !must_stop(l)) {
        *end = idle(l);
        if (*end != GO_ON)
            return false;
    }
    if (!must_stop(l) || (first <= boundary(l) && !is_paused(l)))
        return true;
    *end = ss_loop_stop(l);
    return false;
}

/* ---- Calling the plugin ---------------------------------------------------------------- */

/* A run up to ordinal `last` was taken. */
static inline void finish(loop *l, int32_t status, const uint8_t *frames, uint64_t last,
                          uint32_t count) {
    if (l->acks.is_slow)
        ss_loop_settle(l, status, frames, last, count);
    else
        ss_acks_finish_fast(&l->acks, last);
}

/* What follows from the plugin's answer to one event: it is offered again and again as long as
 * it asks for that. */
static int32_t take_answer(loop *l, int32_t status, const uint8_t *frame, size_t len,
                           uint64_t ordinal, uint32_t attempt) {
    if (wants_retry(status)) {
        const int32_t end = ss_loop_retry(l, frame, len, ordinal, attempt, &status);
        if (end != GO_ON)
            return end;
    }
    if (!is_taken(status))
        return ss_loop_fail(l, status, frame, len, ordinal);
    finish(l, status, frame, ordinal, 1);
    return GO_ON;
}

static inline int32_t deliver_one(loop *l, const uint8_t *frame, size_t len, uint64_t ordinal,
                                  uint32_t attempt) {
    const int32_t status = ss_loop_call(l, frame, len, ordinal, 1, attempt);
    return take_answer(l, status, frame, len, ordinal, attempt);
}

static uint32_t attempt_of(const loop *l, uint64_t first) {
    return first <= l->replay_until ? l->head->attempt : 1;
}

static int32_t flush_after_each(loop *l, uint64_t first) {
    if (first > l->replay_until || l->head->flush_each == 0)
        return GO_ON;
    l->call_end = 0;
    return ss_acks_flush(&l->acks);
}

/* ---- What is lost, and what is skipped ------------------------------------------------- */

static const ss_skip *find_skip(const loop *l, uint64_t from, uint64_t to, bool is_gap) {
    const ss_skip *found = NULL;
    for (uint64_t i = 0; i < l->head->skip_count && i < SS_SKIPS; i++) {
        const ss_skip *skip = &l->head->skips[i];
        if (skip->ordinal >= from && skip->ordinal <= to && (skip->is_gap != 0) == is_gap &&
            (found == NULL || skip->ordinal < found->ordinal))
            found = skip;
    }
    return found;
}

static void look_for_skip(loop *l, uint64_t from) {
    const ss_skip *skip = find_skip(l, from, UINT64_MAX, false);
    l->next_skip = skip == NULL ? UINT64_MAX : skip->ordinal;
}

/* The plugin is told of what it missed, if it is not what crashes it. */
static int32_t deliver_gap(loop *l) {
    uint8_t frame[SS_GAP_FRAME_LEN];
    const ss_gap_block gap = l->cursor.owed;
    int32_t end = GO_ON;
    if (gap.last == 0 || !may_deliver(l, gap.first, &end))
        return end;
    l->cursor.owed = (ss_gap_block){0};
    l->call_end = 0;
    ss_host_log_gap(l->host->log, l->host->log_id, gap.first, gap.last);
    if (l->consumer->kinds == 0 || find_skip(l, gap.first, gap.last, true) != NULL) {
        ss_acks_finish(&l->acks, gap.last, false);
        return GO_ON;
    }
    ss_gap_write(frame, &gap);
    end = deliver_one(l, frame, sizeof frame, gap.last, attempt_of(l, gap.first));
    return end == GO_ON ? flush_after_each(l, gap.first) : end;
}

/* ---- Events ---------------------------------------------------------------------------- */

static int32_t damaged(loop *l) {
    atomic_store_explicit(&l->control->damaged, 1, memory_order_relaxed);
    ss_log_queue_format(l->host->log, SLIPSTREAM_LOG_ERROR, l->host->log_id,
                        "the ring is damaged after ordinal %llu: something has written into it",
                        (unsigned long long)l->acks.done);
    return SS_CONSUMED_DAMAGED;
}

/* How much of a chunk goes into one call; false if it makes no sense. */
static bool cut_run(const loop *l, const ss_chunk *chunk, size_t *len, uint32_t *count) {
    const uint64_t last = chunk->first + chunk->count - 1;
    const uint64_t until = must_stop(l) ? boundary(l) : UINT64_MAX;
    *len = chunk->len;
    *count = chunk->count;
    if (*count <= RUN_FRAMES && *len <= RUN_BYTES && last < l->next_skip && last <= until)
        return true;
    *len = 0;
    for (*count = 0; *count < chunk->count && *count < RUN_FRAMES; (*count)++) {
        const uint64_t ordinal = chunk->first + *count;
        const size_t step = ss_frame_step(chunk->frames + *len, chunk->len - *len);
        if (step == 0)
            return false;
        if (*count > 0 &&
            (*len + step > RUN_BYTES || ordinal >= l->next_skip || ordinal > until))
            break;
        *len += step;
    }
    return true;
}

static void step_over(ss_chunk *chunk, size_t len, uint32_t count) {
    chunk->frames += len;
    chunk->len -= len;
    chunk->first += count;
    chunk->count -= count;
}

/* Is the chunk's first event, and what follows, to be given to the plugin as nearly all are: one
 * by one, for the first time, with nothing before it? */
static bool is_usual(const loop *l, const ss_chunk *chunk) {
    return chunk->count > 1 && l->is_quick && !l->takes_runs && !l->acks.is_slow &&
           l->cursor.owed.last == 0 && chunk->first > l->replay_until &&
           chunk->first != l->next_skip;
}

/* Does the host want us to pause, or to stop, since we looked? Both as in must_stop, is_paused. */
static inline bool wants_other(const loop *l) {
    return atomic_load_explicit(&l->head->stop_wanted, memory_order_acquire) !=
               l->consumer->stopped_for ||
           atomic_load_explicit(&l->head->paused, memory_order_acquire) != 0;
}

/* The hottest loop: usual events, as long as nobody wants anything else. Calls for a quick plugin
 * are timed together. Stops before what makes no sense; the chunk is moved on. */
static int32_t deliver_usual(loop *l, ss_chunk *chunk) {
    const slipstream_plugin *table = l->consumer->table;
    const uint64_t until = must_stop(l) ? boundary(l) : UINT64_MAX;
    const uint8_t *frame = chunk->frames;
    const uint8_t *const end = frame + chunk->len;
    uint64_t ordinal = chunk->first;
    uint64_t last = ordinal + chunk->count - 1;
    int32_t status = SLIPSTREAM_OK;
    size_t len = 0;
    uint32_t calls;
    last = last < l->next_skip ? last : l->next_skip - 1;
    last = last < until ? last : until;
    l->delivery.attempt = l->delivery.count = 1;
    do {
        if (l->call_end == 0)
            l->call_end = ss_ticks();
        ss_tell(&l->control->run, l->key, SS_PLACE_RUN, 1);
        for (calls = 0; calls < TIMED_TOGETHER && ordinal <= last; calls++) {
            if (wants_other(l) || (len = ss_frame_step(frame, (size_t)(end - frame))) == 0)
                break;
            l->delivery.first_ordinal = ordinal;
            /* model: replay consumer, store started */
            ss_loop_announce(l, ordinal);
            status = table->on_broadcast(table->instance, &l->delivery, frame, len);
            ss_os_end_if_forked(l->host->process);
            if (__builtin_expect(status != SLIPSTREAM_OK || l->acks.is_slow, 0)) {
                calls++;
                break;
            }
            /* model: replay consumer, store acked */
            ss_acks_finish_fast(&l->acks, ordinal);
            frame += len;
            ordinal++;
        }
        ss_tell(&l->control->run, l->key, SS_PLACE_RUN, 0);
        if (calls > 0)
            ss_loop_time(l, calls);
    } while (calls == TIMED_TOGETHER && status == SLIPSTREAM_OK && ordinal <= last && l->is_quick &&
             !l->acks.is_slow);
    const bool answered = status != SLIPSTREAM_OK || l->acks.is_slow;
    step_over(chunk, (size_t)(frame - chunk->frames) + (answered ? len : 0),
              (uint32_t)(ordinal - chunk->first) + answered);
    return answered ? take_answer(l, status, frame, len, ordinal, 1) : GO_ON;
}

/* All frames of a chunk: in runs, or one by one. */
static int32_t deliver_chunk(loop *l, ss_chunk chunk) {
    uint64_t undone_until = 0; /* a run that the plugin has undone comes again singly */
    int32_t end = GO_ON;
    while (chunk.count > 0) {
        const uint64_t first = chunk.first;
        if (is_usual(l, &chunk)) {
            if ((end = deliver_usual(l, &chunk)) != GO_ON)
                return end;
            if (chunk.first != first)
                continue;
        }
        size_t len = ss_frame_step(chunk.frames, chunk.len);
        uint32_t count = 1;
        if (len == 0)
            return damaged(l);
        if (first == l->next_skip) {
            const ss_skip *skip = find_skip(l, first, first, false);
            if (skip->reasons == SS_SKIP_SETTLED) {
                if ((end = deliver_gap(l)) != GO_ON)
                    return end;
                ss_acks_finish(&l->acks, first, false);
                look_for_skip(l, first + 1);
                step_over(&chunk, len, 1);
                continue;
            }
            const ss_gap_block one = ss_gap_of(chunk.frames, first, skip->reasons);
            ss_gap_add(&l->cursor.owed, &one);
            look_for_skip(l, first + 1);
            step_over(&chunk, len, 1);
            continue;
        }
        if (l->cursor.owed.last != 0 && (end = deliver_gap(l)) != GO_ON)
            return end;
        if (!may_deliver(l, first, &end))
            return end;
        const bool alone = !l->takes_runs || first <= l->replay_until || first <= undone_until;
        if (!alone && !cut_run(l, &chunk, &len, &count))
            return damaged(l);
        if (count == 1) {
            const uint32_t attempt = first <= undone_until && first > l->replay_until
                                         ? 2
                                         : attempt_of(l, first);
            end = deliver_one(l, chunk.frames, len, first, attempt);
            if (end == GO_ON && first <= l->replay_until)
                end = flush_after_each(l, first);
        } else {
            const uint64_t last = first + count - 1;
            const int32_t status = ss_loop_call(l, chunk.frames, len, last, count, 1);
            if (is_taken(status)) {
                finish(l, status, chunk.frames, last, count);
            } else if (is_end(status)) {
                end = ss_loop_fail(l, status, chunk.frames, len, last);
            } else {
                ss_loop_forget(l);
                undone_until = last;
                continue;
            }
        }
        if (end != GO_ON)
            return end;
        step_over(&chunk, len, count);
    }
    return l->cursor.owed.last != 0 ? deliver_gap(l) : GO_ON;
}

static int32_t step(loop *l) {
    ss_chunk chunk;
    int32_t end = GO_ON;
    ss_loop_keep(l);
    if (ss_acks_are_asked(&l->acks)) {
        l->call_end = 0;
        if ((end = ss_acks_answer(&l->acks, l->cursor.at)) != GO_ON)
            return end;
    }
    if (must_stop(l)) {
        l->stop_seen = boundary(l); /* up to there it may not be published yet */
        if (l->acks.done >= l->stop_seen || is_paused(l))
            return ss_loop_stop(l);
    }
    if (is_paused(l))
        return idle(l);
    switch (ss_cursor_take(&l->cursor, &chunk)) {
    case SS_TOOK_NOTHING:
        return idle(l);
    case SS_TOOK_NO_MEMORY:
        l->call_end = 0;
        ss_cursor_nap(&l->cursor, NAP_MS);
        return GO_ON;
    case SS_TOOK_CHUNK:
        end = deliver_gap(l);
        return end == GO_ON ? deliver_chunk(l, chunk) : end;
    case SS_TOOK_DAMAGED:
    default:
        return damaged(l);
    }
}

uint32_t ss_consume(ss_consumer *consumer) {
    const ss_ring_head *head = consumer->view.head;
    loop l = {.consumer = consumer,
              .head = head,
              .control = consumer->view.control,
              .host = consumer->host,
              .key = head->key,
              /* model: replay consumer, load until */
              .replay_until = head->replay_until,
              .stop_seen = UINT64_MAX,
              .takes_runs = (consumer->table->flags & SLIPSTREAM_FLAG_BATCH) != 0,
              .delivery = {.struct_size = sizeof l.delivery, .attempt = 1, .count = 1}};
    int32_t end;
    ss_ticks_start();
    ss_acks_start(&l.acks, consumer, &l.delivery);
    ss_cursor_start(&l.cursor, &consumer->view);
    look_for_skip(&l, l.acks.done + 1);
    ss_host_enter(consumer->host, ss_os_self());
    do
        end = step(&l);
    while (end == GO_ON);
    if (end == SS_CONSUMED_PANIC)
        atomic_store(&consumer->host->life, SS_UNLOADED); /* only destroy may follow */
    ss_acks_end(&l.acks);
    ss_acks_hear(&l.acks, true);
    ss_host_leave(consumer->host);
    ss_cursor_end(&l.cursor);
    return (uint32_t)end;
}
