#include "consumer/consume.h"

#include "base/clock.h"
#include "plugin/status.h"
#include "ring/cursor.h"

enum {
    GO_ON = -1, /* beside SS_CONSUMED_* */
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
    uint64_t done;          /* last ordinal that needs no call any more */
    uint64_t needs_ack;     /* EXPLICIT_ACK: last ordinal that only an ack acknowledges */
    uint64_t call_end;      /* ticks; 0 if something else has happened since */
    uint64_t next_skip;
    uint64_t stop_seen;     /* the boundary of the stop that was looked at last */
    bool explicit_ack;
    bool takes_runs;
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
    slipstream_delivery delivery;
    ss_cursor cursor;
} loop;

static inline void add(_Atomic uint64_t *counter, uint64_t amount) {
    atomic_store_explicit(counter, atomic_load_explicit(counter, memory_order_relaxed) + amount,
                          memory_order_relaxed);
}

/* ---- Acknowledging --------------------------------------------------------------------- */

/* The host's ack_lock is held: value and check are written by one at a time. */
static void on_ack(void *context, uint64_t ordinal) {
    ss_consumer *consumer = context;
    if (ordinal > atomic_load_explicit(&consumer->acked, memory_order_relaxed))
        atomic_store(&consumer->acked, ordinal);
    const uint64_t acked = atomic_load(&consumer->acked);
    const uint64_t done = atomic_load(&consumer->done);
    const uint64_t told = acked < done ? acked : done;
    if (told <= consumer->told)
        return;
    ss_tell(&consumer->view.control->acked, consumer->view.head->key, SS_PLACE_ACKED, told);
    consumer->told = told;
}

void ss_consumer_raise_acked(ss_consumer *consumer, uint64_t ordinal) {
    ss_lock_take(&consumer->host->ack_lock);
    on_ack(consumer, ordinal);
    ss_lock_release(&consumer->host->ack_lock);
}

static void connect(ss_consumer *consumer) {
    ss_host *host = consumer->host;
    const uint64_t start = consumer->view.head->resume_after;
    ss_lock_take(&host->ack_lock);
    atomic_store_explicit(&consumer->acked, start, memory_order_release);
    atomic_store_explicit(&consumer->done, start, memory_order_release);
    consumer->told = start;
    atomic_store_explicit(&host->delivered, start, memory_order_release);
    atomic_store_explicit(&host->ring_stopping, &consumer->view.head->is_stopping,
                          memory_order_release);
    host->ack_context = consumer;
    host->on_ack = on_ack;
    ss_lock_release(&host->ack_lock);
}

void ss_consumer_disconnect(ss_consumer *consumer) {
    ss_host *host = consumer->host;
    ss_lock_take(&host->ack_lock);
    if (host->ack_context == consumer) {
        atomic_store_explicit(&host->ring_stopping, NULL, memory_order_release);
        host->on_ack = NULL;
        host->ack_context = NULL;
    }
    ss_lock_release(&host->ack_lock);
}

static uint64_t acked(const loop *l) {
    return atomic_load(&l->consumer->acked);
}

/* What needs no ack of the plugin is acknowledged once all before it is. */
static void settle(loop *l) {
    const uint64_t ordinal = acked(l);
    if (ordinal >= l->needs_ack && ordinal < l->done)
        ss_consumer_raise_acked(l->consumer, l->done);
}

/* Keeps up where the unacknowledged begins. Everything that was taken is done. */
static void measure_unacked(loop *l) {
    const uint64_t ordinal = acked(l);
    if (ordinal >= l->point) {
        l->acked_at = l->point_at;
        l->point = l->done;
        l->point_at = l->cursor.at;
    }
    if (ordinal >= l->done)
        l->acked_at = l->cursor.at;
}

/* Everything up to `last` needs no further call. */
static inline void finish(loop *l, uint64_t last, bool needs_ack) {
    if (!l->explicit_ack) {
        l->done = last;
        ss_tell(&l->control->acked, l->key, SS_PLACE_ACKED, last);
        return;
    }
    settle(l); /* with what was done before: from now on more may wait for an ack */
    const uint64_t before = l->done;
    l->done = last;
    atomic_store(&l->consumer->done, last); /* in one order with `acked`: one side sees both */
    if (needs_ack)
        l->needs_ack = last;
    settle(l);
    if (acked(l) > before) /* by the plugin, during its call */
        ss_consumer_raise_acked(l->consumer, before);
    if (l->consumer->flush_idle_ms != 0)
        l->idle_flush_ns = 1; /* counted from when nothing is left to do */
}

static bool has_unacked(const loop *l) {
    return l->explicit_ack && acked(l) < l->done;
}

/* Lets the plugin make durable what it has. */
static int32_t flush(loop *l, int32_t *status) {
    const ss_consumer *consumer = l->consumer;
    char text[2 * SLIPSTREAM_ERROR_MAX];
    l->call_end = 0;
    l->host->error_len = 0;
    atomic_store_explicit(&l->control->flushing, 1, memory_order_relaxed);
    *status = consumer->table->flush(consumer->table->instance, consumer->flush_timeout_ms);
    atomic_store_explicit(&l->control->flushing, 0, memory_order_relaxed);
    const uint64_t now = ss_os_now_ns();
    const uint64_t idle_ns = (uint64_t)consumer->flush_idle_ms * 1000000;
    l->idle_flush_ns = 0;
    l->half_flush_ns = 0;
    if (*status == SLIPSTREAM_OK) {
        ss_consumer_raise_acked(l->consumer, l->done);
        return GO_ON;
    }
    l->half_flush_ns = now + (idle_ns != 0 ? idle_ns : (uint64_t)LONGEST_PAUSE_MS * 1000000);
    l->idle_flush_ns = idle_ns != 0 ? now + idle_ns : 0;
    ss_host_error(l->host, text, sizeof text);
    ss_log_queue_format(l->host->log, SLIPSTREAM_LOG_ERROR, l->host->log_id,
                        "flush returned %s (%d) after ordinal %llu%s%s", ss_status_name(*status),
                        (int)*status, (unsigned long long)l->done, text[0] ? ": " : "", text);
    if (*status == SLIPSTREAM_FATAL)
        return SS_CONSUMED_FATAL;
    return *status == SLIPSTREAM_PANIC ? SS_CONSUMED_PANIC : GO_ON;
}

/* ---- What the host wants --------------------------------------------------------------- */

/* Looked at before the boundary, which belongs to this stop or to a later one. */
static bool must_stop(const loop *l) {
    l->consumer->stopped_for =
        atomic_load_explicit(&l->head->stop_wanted, memory_order_acquire);
    return l->consumer->stopped_for != 0;
}

static bool is_paused(const loop *l) {
    return atomic_load_explicit(&l->head->paused, memory_order_acquire) != 0;
}

static uint64_t boundary(const loop *l) {
    return atomic_load_explicit(&l->head->boundary, memory_order_acquire);
}

/* Answers requests to flush for whose events we are through. */
static int32_t answer_flush(loop *l) {
    for (;;) {
        const uint32_t wanted = atomic_load_explicit(&l->head->flush_wanted, memory_order_acquire);
        l->flush_seen = wanted;
        if (!l->flush_asked && wanted == l->flush_number)
            return GO_ON;
        if (!l->flush_asked) {
            l->flush_asked = true;
            l->flush_number = wanted;
            l->flush_after = atomic_load_explicit(&l->head->head, memory_order_acquire);
        }
        if (l->cursor.at < l->flush_after)
            return GO_ON;
        int32_t status = SLIPSTREAM_OK;
        const int32_t end = has_unacked(l) ? flush(l, &status) : GO_ON;
        atomic_store_explicit(&l->control->flush_status, status, memory_order_relaxed);
        atomic_store_explicit(&l->control->flush_done, l->flush_number, memory_order_release);
        l->flush_asked = false;
        if (end != GO_ON)
            return end;
    }
}

static int32_t stop(loop *l) {
    int32_t status;
    const int32_t end = has_unacked(l) ? flush(l, &status) : GO_ON;
    return end == GO_ON ? SS_CONSUMED_BOUNDARY : end;
}

static bool something_to_do(void *context) {
    const loop *l = context;
    return (must_stop(l) && boundary(l) != l->stop_seen) ||
           atomic_load_explicit(&l->head->flush_wanted, memory_order_acquire) != l->flush_seen ||
           (!is_paused(l) &&
            atomic_load_explicit(&l->head->head, memory_order_acquire) != l->cursor.at);
}

/* Nothing can be delivered now: flushes if it is time, else sleeps. */
static int32_t idle(loop *l) {
    uint64_t ms = PARK_MS;
    int32_t status;
    l->call_end = 0;
    if (l->explicit_ack) {
        settle(l);
        measure_unacked(l);
    }
    if (has_unacked(l)) {
        const uint64_t now = ss_os_now_ns();
        if (l->idle_flush_ns == 1)
            l->idle_flush_ns = now + (uint64_t)l->consumer->flush_idle_ms * 1000000;
        const bool half = l->cursor.at - l->acked_at >= l->consumer->view.bytes / 2;
        if ((half && now >= l->half_flush_ns) ||
            (l->idle_flush_ns != 0 && now >= l->idle_flush_ns))
            return flush(l, &status);
        const uint64_t next = half ? l->half_flush_ns : l->idle_flush_ns;
        if (next != 0 && (next - now) / 1000000 < ms)
            ms = (next - now) / 1000000 + 1;
    }
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
    finish(l, ordinal, false);
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
    finish(l, ordinal, status == SLIPSTREAM_OK);
    return GO_ON;
}

static uint32_t attempt_of(const loop *l, uint64_t first) {
    return first <= l->replay_until ? l->head->attempt : 1;
}

static int32_t flush_after_each(loop *l, uint64_t first) {
    int32_t status;
    if (first > l->replay_until || l->head->flush_each == 0 || !has_unacked(l))
        return GO_ON;
    return flush(l, &status);
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
        finish(l, gap.last, false);
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
                        (unsigned long long)l->done);
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
                finish(l, last, status == SLIPSTREAM_OK);
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
    int32_t end = answer_flush(l);
    if (end != GO_ON)
        return end;
    if (must_stop(l)) {
        l->stop_seen = boundary(l); /* up to there it may not be published yet */
        if (l->done >= l->stop_seen || is_paused(l))
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
    const uint32_t flags = consumer->table->flags;
    const ss_ring_head *head = consumer->view.head;
    loop l = {.consumer = consumer,
              .head = head,
              .control = consumer->view.control,
              .host = consumer->host,
              .key = head->key,
              .replay_until = head->replay_until,
              .done = head->resume_after,
              .needs_ack = head->resume_after,
              .stop_seen = UINT64_MAX,
              .explicit_ack = (flags & SLIPSTREAM_FLAG_EXPLICIT_ACK) != 0,
              .takes_runs = (flags & SLIPSTREAM_FLAG_BATCH) != 0,
              .flush_number = atomic_load_explicit(&consumer->view.control->flush_done,
                                                   memory_order_relaxed),
              .acked_at = head->resume_at,
              .point = head->resume_after,
              .point_at = head->resume_at,
              .delivery = {.struct_size = sizeof l.delivery, .attempt = 1, .count = 1}};
    int32_t end;
    ss_ticks_start();
    connect(consumer);
    ss_cursor_start(&l.cursor, &consumer->view);
    look_for_skip(&l, l.done + 1);
    ss_host_enter(consumer->host, ss_os_self());
    do
        end = step(&l);
    while (end == GO_ON);
    ss_host_leave(consumer->host);
    ss_cursor_end(&l.cursor);
    return (uint32_t)end;
}
