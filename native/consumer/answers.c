/* answers: what follows where a plugin does not simply take an event. */
#include "consumer/loop.h"

#include "plugin/status.h"

#include <stdlib.h>
#include <string.h>

#define MS UINT64_C(1000000)

enum { TELL_EVERY_MS = 60 * 1000 }; /* that it is still going on */

/* ---- RETRY and its likes --------------------------------------------------------------- */

typedef struct retry {
    loop *l;
    uint64_t ordinal;
    uint64_t since_ns;
    uint64_t tell_ns;  /* when to say again that it goes on */
    uint64_t flush_ns; /* when to flush next, if that is due then */
} retry;

static double seconds_since(uint64_t since_ns) {
    return (double)(ss_os_now_ns() - since_ns) / 1e9;
}

static void show(const loop *l, uint64_t ordinal) {
    atomic_store_explicit(&l->control->retrying_since_ns, ordinal == 0 ? 0 : ss_os_wall_ns(),
                          memory_order_relaxed);
    /* Pairs with the acquire in ss_queue_describe: whoever sees it sees since when. */
    atomic_store_explicit(&l->control->retrying, ordinal, memory_order_release);
}

static void begin(retry *r, loop *l, uint64_t ordinal, int32_t status) {
    char text[2 * SLIPSTREAM_ERROR_MAX];
    const uint64_t now = ss_os_now_ns();
    *r = (retry){l, ordinal, now, now + TELL_EVERY_MS * MS, now};
    ss_host_error(l->host, text, sizeof text);
    ss_log_queue_format(l->host->log, SLIPSTREAM_LOG_WARN, l->host->log_id,
                        "on_broadcast returned %s (%d) for ordinal %llu, which is offered again "
                        "until it is taken%s%s",
                        ss_status_name(status), (int)status, (unsigned long long)ordinal,
                        text[0] ? ": " : "", text);
    show(l, ordinal);
}

static void end_retry(const retry *r, const char *what, uint32_t attempt) {
    show(r->l, 0);
    ss_log_queue_format(r->l->host->log, SLIPSTREAM_LOG_WARN, r->l->host->log_id,
                        "retrying ordinal %llu is over after %.3g s, attempt %u: %s",
                        (unsigned long long)r->ordinal, seconds_since(r->since_ns),
                        (unsigned)attempt, what);
}

static void tell_now_and_then(retry *r, uint64_t now) {
    if (now < r->tell_ns)
        return;
    r->tell_ns = now + TELL_EVERY_MS * MS;
    ss_log_queue_format(r->l->host->log, SLIPSTREAM_LOG_WARN, r->l->host->log_id,
                        "still retrying ordinal %llu, for %.0f s: what comes after it waits",
                        (unsigned long long)r->ordinal, seconds_since(r->since_ns));
}

/* Lets the plugin make durable what it has taken before, which may be what it waits for. */
static int32_t flush_now_and_then(retry *r, uint64_t now) {
    const uint32_t idle_ms = r->l->consumer->flush_idle_ms;
    if (now < r->flush_ns || !ss_acks_are_due(&r->l->acks))
        return GO_ON;
    r->flush_ns = now + (idle_ms > 1000 ? idle_ms : 1000) * MS;
    return ss_acks_flush(&r->l->acks);
}

/* Waits `ms`, and as long as it is paused; not once the host wants us to stop. */
static int32_t wait_to_retry(retry *r, uint64_t ms) {
    const uint64_t until = ss_os_now_ns() + ms * MS;
    loop *l = r->l;
    l->call_end = 0;
    while (!must_stop(l)) {
        const uint64_t now = ss_os_now_ns();
        if (now >= until && !is_paused(l))
            break;
        tell_now_and_then(r, now);
        ss_loop_keep(l);
        const int32_t end = flush_now_and_then(r, now);
        if (end != GO_ON)
            return end;
        const uint64_t left = now >= until ? NAP_MS : (until - now) / MS + 1;
        ss_cursor_nap(&l->cursor, left < NAP_MS ? left : NAP_MS);
    }
    return GO_ON;
}

/* Of a pause so much as the operator's bound still allows; 0: it is over. */
static uint64_t allowed_ms(const retry *r, uint64_t pause_ms) {
    const uint64_t bound_ms = r->l->consumer->retry.max_time_ms;
    const uint64_t passed_ms = (ss_os_now_ns() - r->since_ns) / MS;
    if (bound_ms == 0)
        return pause_ms;
    if (passed_ms >= bound_ms)
        return 0;
    return bound_ms - passed_ms < pause_ms ? bound_ms - passed_ms : pause_ms;
}

/* Somebody wants us to stop: is there to be one more try? Only for what was tried but once. */
static bool has_last_chance(const retry *r, uint32_t tries) {
    const loop *l = r->l;
    return tries == 1 && r->ordinal <= boundary(l) && !is_paused(l);
}

int32_t ss_loop_retry(loop *l, const uint8_t *frame, size_t len, uint64_t ordinal,
                      uint32_t attempt, int32_t *status) {
    const ss_retry_bounds *bounds = &l->consumer->retry;
    uint64_t pause = bounds->initial_ms > 0 ? bounds->initial_ms : 1;
    int32_t end = GO_ON;
    retry r;
    begin(&r, l, ordinal, *status);
    for (uint32_t tries = 1; wants_retry(*status); tries++) {
        const uint64_t ms = allowed_ms(&r, pause);
        ss_loop_forget(l);
        if (ms == 0) {
            end_retry(&r, "max_time is over", attempt);
            return GO_ON;
        }
        end = wait_to_retry(&r, ms);
        if (end == GO_ON && must_stop(l) && !has_last_chance(&r, tries))
            end = ss_loop_stop(l); /* it is kept */
        if (end != GO_ON) {
            end_retry(&r, "it is kept, for delivery stops", attempt);
            return end;
        }
        pause = 2 * pause < bounds->max_ms ? 2 * pause : bounds->max_ms;
        attempt += attempt < UINT32_MAX;
        *status = ss_loop_call(l, frame, len, ordinal, 1, attempt);
    }
    end_retry(&r, is_taken(*status) ? "it was taken" : "it was refused", attempt);
    l->call_end = 0;
    return GO_ON;
}

/* ---- Refusals -------------------------------------------------------------------------- */

static void refuse(loop *l, const ss_letter *letter) {
    ss_acks_slow_down(&l->acks);
    ss_consumer_refuse(l->consumer, letter);
}

int32_t ss_loop_fail(loop *l, int32_t status, const uint8_t *frame, size_t len, uint64_t ordinal) {
    char text[SLIPSTREAM_ERROR_MAX];
    const size_t text_len = l->host->error_len;
    memcpy(text, l->host->error, text_len);
    l->call_end = 0;
    ss_loop_forget(l);
    const uint32_t count = l->delivery.count;
    ss_host_log_failure(l->host->log, l->host->log_id, l->host, status, frame, ordinal - count + 1,
                        count);
    if (is_end(status))
        return status == SLIPSTREAM_FATAL ? SS_CONSUMED_FATAL : SS_CONSUMED_PANIC;
    if (is_event(frame)) /* a GAP is answered, and forgotten */
        refuse(l, &(ss_letter){ordinal, status, l->delivery.attempt, text, text_len, frame, len});
    ss_acks_finish(&l->acks, ordinal, false);
    return GO_ON;
}

/* Those of a run that were rejected; `frames` NULL: of one that is over, they are in the ring. */
static void refuse_rejected(loop *l, const uint8_t *frames, uint64_t first) {
    ss_rejection *rejections;
    const size_t count = ss_host_take_rejections(&l->host->settle, &rejections);
    for (size_t i = 0; i < count; i++) {
        ss_rejection *one = &rejections[i];
        while (frames != NULL && first < one->ordinal) {
            frames += slipstream_load_u32(frames);
            first++;
        }
        ss_host_log_rejection(l->host->log, l->host->log_id, one);
        if (frames == NULL || is_event(frames))
            refuse(l, &(ss_letter){one->ordinal, one->status, l->delivery.attempt, one->text,
                                   one->len, frames,
                                   frames == NULL ? 0 : slipstream_load_u32(frames)});
        ss_rejection_free(one);
    }
    free(rejections);
}

void ss_loop_settle(loop *l, int32_t status, const uint8_t *frames, uint64_t last,
                    uint32_t count) {
    l->call_end = 0;
    if (status == SLIPSTREAM_OK)
        refuse_rejected(l, frames, last - count + 1);
    else
        ss_loop_forget(l);
    ss_acks_finish(&l->acks, last, status == SLIPSTREAM_OK);
    if (l->acks.are_explicit && status == SLIPSTREAM_OK)
        refuse_rejected(l, NULL, 0); /* by another thread, since we looked */
    ss_acks_hear(&l->acks, false);
}
