#include "consumer/consume.h"

#include "base/clock.h"
#include "consumer/acks.h"
#include "ring/cursor.h"

enum {
    RUN_BYTES = 1024 * 1024,
    RUN_FRAMES = 4096,
    PARK_MS = 10 * 1000,
    NAP_MS = 50, /* between two looks at what the host wants, where events must not wake us */
    LONGEST_PAUSE_MS = 1000,
};

typedef struct loop {
    ss_consumer *consumer;
    const ss_ring_head *head;
    ss_control *control;
    ss_host *host;
    uint64_t key;
    uint64_t replay_until;
    uint64_t call_end; /* ticks; 0 if something else has happened since */
    uint64_t next_skip;
    uint64_t stop_seen; /* the boundary of the stop that was looked at last */
    bool takes_runs;
    slipstream_delivery delivery;
    ss_acks acks;
    ss_cursor cursor;
} loop;

static inline void add(_Atomic uint64_t *counter, uint64_t amount) {
    atomic_store_explicit(counter, atomic_load_explicit(counter, memory_order_relaxed) + amount,
                          memory_order_relaxed);
}

/* ---- What the host wants --------------------------------------------------------------- */

/* Looked at before the boundary, which belongs to this stop or to a later one. Pairs with
 * ss_queue_want_stop. */
static bool must_stop(const loop *l) {
    l->consumer->stopped_for =
        atomic_load_explicit(&l->head->stop_wanted, memory_order_acquire);
    return l->consumer->stopped_for != 0;
}

static bool is_paused(const loop *l) {
    /* Pairs with the release in ss_queue_pause. */
    return atomic_load_explicit(&l->head->paused, memory_order_acquire) != 0;
}

static uint64_t boundary(const loop *l) {
    return atomic_load_explicit(&l->head->boundary, memory_order_acquire);
}

static int32_t stop(loop *l) {
    const int32_t end = ss_acks_flush(&l->acks);
    return end == GO_ON ? SS_CONSUMED_BOUNDARY : end;
}

static bool something_to_do(void *context) {
    const loop *l = context;
    return (must_stop(l) && boundary(l) != l->stop_seen) ||
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
    *end = stop(l);
    return false;
}

/* ---- Calling the plugin ---------------------------------------------------------------- */

/* One call for `count` frames, or a GAP, up to ordinal `last`. */
static inline int32_t call(loop *l, const uint8_t *frames, size_t len, uint64_t last,
                           uint32_t count, uint32_t attempt) {
    const slipstream_plugin *table = l->consumer->table;
    ss_control *control = l->control;
    l->delivery.attempt = attempt;
    l->delivery.count = count;
    l->delivery.first_ordinal = last - count + 1;
    l->host->error_len = 0;
    atomic_store_explicit(&l->host->delivered, last, memory_order_release);
    ss_tell(&control->started, l->key, SS_PLACE_STARTED, last);
    ss_tell(&control->run, l->key, SS_PLACE_RUN, count);
    if (l->call_end == 0)
        l->call_end = ss_ticks();
    const int32_t status = table->on_broadcast(table->instance, &l->delivery, frames, len);
    /* Calls that follow each other share one look at the counter. */
    const uint64_t now = ss_ticks();
    const uint64_t ticks = now - l->call_end;
    l->call_end = now;
    ss_tell(&control->run, l->key, SS_PLACE_RUN, 0);
    add(&control->calls, 1);
    add(&control->call_ticks, ticks);
    add(&control->buckets[ss_histogram_bucket(ticks)], 1);
    return status;
}

static bool is_taken(int32_t status) {
    return status == SLIPSTREAM_OK || status == SLIPSTREAM_IGNORED;
}

static bool is_end(int32_t status) {
    return status == SLIPSTREAM_FATAL || status == SLIPSTREAM_PANIC;
}

static bool wants_retry(int32_t status) {
    return status == SLIPSTREAM_RETRY || status == SLIPSTREAM_NO_MEMORY ||
           status == SLIPSTREAM_TIMEOUT;
}

/* Waits, but not once the host wants us to stop. */
static void pause_before_retry(loop *l, uint64_t ms) {
    const uint64_t end = ss_os_now_ns() + ms * 1000000;
    l->call_end = 0;
    for (uint64_t now; !must_stop(l) && (now = ss_os_now_ns()) < end;) {
        const uint64_t left = (end - now) / 1000000 + 1;
        ss_cursor_nap(&l->cursor, left < NAP_MS ? left : NAP_MS);
    }
}

/* A GAP is none: those that it tells of are counted as lost. */
static inline bool is_event(const uint8_t *frame) {
    return slipstream_load_u16(frame + 6) != SLIPSTREAM_KIND_GAP;
}

static int32_t fail(loop *l, int32_t status, const uint8_t *frame, size_t len, uint64_t ordinal) {
    const ss_consumer *consumer = l->consumer;
    l->call_end = 0;
    ss_host_log_failure(l->host->log, l->host->log_id, l->host, status, frame, ordinal);
    add(&l->control->failed, is_event(frame));
    if (is_end(status))
        return status == SLIPSTREAM_FATAL ? SS_CONSUMED_FATAL : SS_CONSUMED_PANIC;
    if (consumer->failed != NULL)
        consumer->failed(consumer->context, status, ordinal, frame, len);
    ss_acks_finish(&l->acks, ordinal, false);
    return GO_ON;
}

/* One event, again and again as long as the plugin asks for it. */
static inline int32_t deliver_one(loop *l, const uint8_t *frame, size_t len, uint64_t ordinal,
                                  uint32_t attempt) {
    const ss_consumer *consumer = l->consumer;
    int32_t status = call(l, frame, len, ordinal, 1, attempt);
    uint64_t pause = consumer->retry_delay_ms;
    for (uint32_t tries = 1; wants_retry(status) && tries < consumer->max_attempts; tries++) {
        const bool last_chance = must_stop(l);
        pause_before_retry(l, pause);
        pause = 2 * pause < LONGEST_PAUSE_MS ? 2 * pause : LONGEST_PAUSE_MS;
        status = call(l, frame, len, ordinal, 1, ++attempt);
        if (wants_retry(status) && last_chance)
            return stop(l); /* it is kept */
    }
    if (!is_taken(status))
        return fail(l, status, frame, len, ordinal);
    add(&l->control->delivered, is_event(frame));
    ss_acks_finish(&l->acks, ordinal, status == SLIPSTREAM_OK);
    return GO_ON;
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
                        "the ring is damaged behind ordinal %llu: something has written into it",
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

/* All frames of a chunk: in runs, or one by one. */
static int32_t deliver_chunk(loop *l, ss_chunk chunk) {
    uint64_t undone_until = 0; /* a run that the plugin has undone comes again singly */
    int32_t end = GO_ON;
    while (chunk.count > 0) {
        const uint64_t first = chunk.first;
        size_t len = ss_frame_step(chunk.frames, chunk.len);
        uint32_t count = 1;
        if (len == 0)
            return damaged(l);
        if (first == l->next_skip) {
            const ss_skip *skip = find_skip(l, first, first, false);
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
            const int32_t status = call(l, chunk.frames, len, last, count, 1);
            if (is_taken(status)) {
                add(&l->control->delivered, count);
                ss_acks_finish(&l->acks, last, status == SLIPSTREAM_OK);
            } else if (is_end(status)) {
                end = fail(l, status, chunk.frames, len, last);
            } else {
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
    if (ss_acks_are_asked(&l->acks)) {
        l->call_end = 0;
        if ((end = ss_acks_answer(&l->acks, l->cursor.at)) != GO_ON)
            return end;
    }
    if (must_stop(l)) {
        l->stop_seen = boundary(l); /* up to there it may not be published yet */
        if (l->acks.done >= l->stop_seen || is_paused(l))
            return stop(l);
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
              .replay_until = head->replay_until,
              .stop_seen = UINT64_MAX,
              .takes_runs = (consumer->table->flags & SLIPSTREAM_FLAG_BATCH) != 0,
              .delivery = {.struct_size = sizeof l.delivery, .attempt = 1, .count = 1}};
    int32_t end;
    ss_ticks_start();
    ss_acks_start(&l.acks, consumer);
    ss_cursor_start(&l.cursor, &consumer->view);
    look_for_skip(&l, l.acks.done + 1);
    ss_host_enter(consumer->host, ss_os_self());
    do
        end = step(&l);
    while (end == GO_ON);
    ss_host_leave(consumer->host);
    ss_cursor_end(&l.cursor);
    return (uint32_t)end;
}
