/* events.c - on_broadcast: is it what comes next, and may it come like this?
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "instance.h"

#include <string.h>

/* The run that is being taken. */
typedef struct run {
    const slipstream_delivery *delivery;
    uint64_t first, last; /* ordinals; the first of a GAP is that of the first lost event */
    uint32_t attempt, count;
    bool is_gap;
    uint32_t refused, retried; /* events that this probe is told to answer so */
    int32_t status;
} run;

static bool is_concurrent(const probe *self) {
    return (self->flags & SLIPSTREAM_FLAG_CONCURRENT) != 0;
}

/* ---- Ordinals ----------------------------------------------------------------------- */

static void check_gap(probe *self, const slipstream_frame *frame, run *r) {
    const uint64_t wanted =
        self->kinds | (self->claim[0] != '\0' ? BIT(SLIPSTREAM_KIND_PAYLOAD) : 0);
    const uint32_t known = SLIPSTREAM_GAP_QUARANTINED * 2 - 1;
    slipstream_gap gap;
    check(self, GAP_ALONE, r->count == 1, "it came in a run of %u", (unsigned)r->count);
    if (slipstream_read_gap(frame, &gap) != SLIPSTREAM_OK)
        return;
    check(self, GAP_COUNT, gap.count != 0 && gap.last - gap.first + 1 == gap.count,
          "%llu to %llu, count %llu", (unsigned long long)gap.first, (unsigned long long)gap.last,
          (unsigned long long)gap.count);
    check(self, GAP_REASONS, gap.reasons != 0 && (!self->is_1_0 || (gap.reasons & ~known) == 0),
          "the reasons are %#x", (unsigned)gap.reasons);
    check(self, GAP_KINDS, gap.kinds != 0 && (gap.kinds & ~wanted) == 0,
          "the kinds are %#llx, wanted are %#llx", (unsigned long long)gap.kinds,
          (unsigned long long)wanted);
    check(self, GAP_PLACE,
          (gap.lost_stream == 0) == (gap.first_sequence == 0) &&
              (gap.lost_stream == 0) == (gap.last_sequence == 0),
          "stream %llu, sequences %llu to %llu", (unsigned long long)gap.lost_stream,
          (unsigned long long)gap.first_sequence, (unsigned long long)gap.last_sequence);
    if (r->count == 1) {
        check(self, GAP_ORDINAL, r->first == gap.last, "it has %llu, and the last is %llu",
              (unsigned long long)r->first, (unsigned long long)gap.last);
        r->is_gap = true;
        r->first = gap.first;
        r->last = gap.last;
    }
    self->gaps++;
}

/* After RETRY: the same again, and later. Where the mode is not known it may have been inline. */
static void check_retried(probe *self, const run *r) {
    const uint64_t ordinal = self->retried;
    self->retried = 0;
    if (ordinal == 0)
        return;
    if (r->last == ordinal || (r->first <= ordinal && r->last > ordinal)) {
        check(self, RETRY_ATTEMPT, r->is_gap || r->attempt > self->retried_attempt,
              "ordinal %llu came with attempt %u after attempt %u", (unsigned long long)ordinal,
              (unsigned)r->attempt, (unsigned)self->retried_attempt);
        return;
    }
    if (self->one_thread != 0)
        check(self, RETRY_AGAIN, r->first <= ordinal, "ordinal %llu came after RETRY for %llu",
              (unsigned long long)r->first, (unsigned long long)ordinal);
    if (self->history->next == ordinal)
        self->history->next = ordinal + 1;
}

static void check_ordinals(probe *self, const run *r) {
    uint64_t *next = &self->history->next;
    check_retried(self, r);
    if (*next != 0 && r->first <= self->undone_until)
        check(self, RUN_UNDONE, r->count == 1, "a run of %u begins with ordinal %llu",
              (unsigned)r->count, (unsigned long long)r->first);
    if (*next != 0 && *next <= self->undone_until)
        check(self, RUN_UNDONE, r->first <= *next, "ordinal %llu comes, and not %llu",
              (unsigned long long)r->first, (unsigned long long)*next);
    else if (*next != 0)
        check(self, ORDINAL_DENSE, r->first <= *next, "ordinal %llu comes, and not %llu",
              (unsigned long long)r->first, (unsigned long long)*next);
    /* A GAP is new, though what it tells of may have been here before. */
    if (*next != 0 && !r->is_gap && (r->first < *next || r->first <= self->undone_until)) {
        self->repeats++;
        check(self, ORDINAL_REPEAT, r->attempt > 1, "ordinal %llu comes again with attempt %u",
              (unsigned long long)r->first, (unsigned)r->attempt);
    }
    *next = r->last + 1;
}

static void note_event(probe *self, const slipstream_frame *frame, uint64_t ordinal, run *r) {
    const bool is_event = frame->kind != SLIPSTREAM_KIND_GAP;
    for (size_t i = 0; is_event && i < self->settled_count && i < SETTLED; i++)
        check(self, SETTLED_AGAIN, self->settled[i] != ordinal, "ordinal %llu comes again",
              (unsigned long long)ordinal);
    history_note(self, ordinal, frame->kind, hash_of(frame->whole.data, frame->whole.len));
    if (self->golden_len > 0)
        check_golden(self, frame);
    if (!is_event)
        return;
    r->refused += self->refuse_every != 0 && ordinal % self->refuse_every == 0;
    r->retried += self->retry_every != 0 && ordinal % self->retry_every == 0 &&
                  r->attempt <= self->retry_times;
}

/* ---- Frames ------------------------------------------------------------------------- */

static bool is_one_of_many_gaps(const slipstream_frame *frame, const run *r) {
    return frame->kind == SLIPSTREAM_KIND_GAP && r->count > 1;
}

/* Reads all frames; false if they cannot be told apart. */
static bool check_frames(probe *self, const uint8_t *frames, size_t len, run *r) {
    slipstream_frame frame;
    size_t at = 0;
    uint32_t found = 0;
    while (at < len) {
        const int32_t status = slipstream_next_frame(frames, len, &at, &frame);
        if (!check(self, FRAME_READ, status != SLIPSTREAM_MALFORMED,
                   "frame %u of %u, at %zu of %zu", (unsigned)found, (unsigned)r->count, at, len))
            return false;
        check_frame(self, &frame);
        if (frame.kind == SLIPSTREAM_KIND_GAP)
            check_gap(self, &frame, r);
        else
            self->events++;
        found++;
    }
    check(self, DELIVERY_COUNT, found == r->count && found > 0,
          "count is %u, and there are %u frames in %zu bytes", (unsigned)r->count, (unsigned)found,
          len);
    if ((self->flags & SLIPSTREAM_FLAG_BATCH) == 0 && r->count > 1)
        check(self, DELIVERY_SINGLE, false, "count is %u", (unsigned)r->count);
    check(self, DELIVERY_SINGLE, true, "-");
    r->last = r->is_gap ? r->last : r->first + found - 1;
    r->count = found;
    if (found == 0 || is_concurrent(self) || self->history == NULL)
        return found > 0;
    check_ordinals(self, r);
    at = 0;
    for (uint32_t i = 0; slipstream_next_frame(frames, len, &at, &frame) != SLIPSTREAM_END; i++)
        if (!is_one_of_many_gaps(&frame, r))
            note_event(self, &frame, r->is_gap ? r->last : r->first + i, r);
    return true;
}

/* ---- What may be called meanwhile --------------------------------------------------- */

static void check_ack(probe *self, const run *r) {
    const slipstream_host *host = &self->copy;
    int32_t status;
    if ((self->flags & SLIPSTREAM_FLAG_EXPLICIT_ACK) == 0) {
        if (self->calls > 1)
            return;
        ASK(status, host->ack(host->ctx, r->last));
        check(self, ACK_UNFLAGGED, status == SLIPSTREAM_INVALID_ARGUMENT, "it gave %d",
              (int)status);
        return;
    }
    if (self->calls == 1) {
        ASK(status, host->ack(host->ctx, r->last + 1000000));
        check(self, ACK_FUTURE, status == SLIPSTREAM_INVALID_ARGUMENT,
              "ack of %llu, and %llu was the last, gave %d", (unsigned long long)r->last + 1000000,
              (unsigned long long)r->last, (int)status);
    }
    if (r->status != SLIPSTREAM_OK || self->ack_every == 0 || self->calls % self->ack_every != 0)
        return;
    ASK(status, host->ack(host->ctx, r->last));
    if (!check(self, ACK_RUNNING, status == SLIPSTREAM_OK, "it gave %d", (int)status))
        return;
    ASK(status, host->ack(host->ctx, r->last));
    check(self, ACK_LOWER, status == SLIPSTREAM_OK, "an equal one gave %d", (int)status);
    ASK(status, host->ack(host->ctx, r->last - 1));
    check(self, ACK_LOWER, status == SLIPSTREAM_OK, "a lower one gave %d", (int)status);
}

static int32_t reject(probe *self, const slipstream_settle_v1 *settle, uint64_t ordinal,
                      int32_t status) {
    char text[] = "probe: rejected";
    int32_t answer;
    ASK(answer, settle->reject(self->copy.ctx, ordinal, status, text, sizeof text - 1));
    memset(text, '#', sizeof text - 1);
    return answer;
}

static void remember_settled(probe *self, uint64_t ordinal) {
    self->settled[self->settled_count++ % SETTLED] = ordinal;
}

static void check_settle(probe *self, const run *r) {
    static const int32_t unsettling[] = {SLIPSTREAM_OK,    SLIPSTREAM_END,       SLIPSTREAM_IGNORED,
                                         SLIPSTREAM_RETRY, SLIPSTREAM_NO_MEMORY, SLIPSTREAM_TIMEOUT,
                                         SLIPSTREAM_FATAL, SLIPSTREAM_PANIC};
    const slipstream_settle_v1 *settle = extension(self, SLIPSTREAM_EXT_SETTLE);
    if (settle == NULL || settle->reject == NULL || self->reject_every == 0 || r->is_gap ||
        (self->flags & SLIPSTREAM_FLAG_BATCH) == 0 || r->status != SLIPSTREAM_OK)
        return;
    if (self->tried[SETTLE_STATUS] == 0) { /* once: a host may log each of these */
        for (size_t i = 0; i < sizeof unsettling / sizeof unsettling[0]; i++) {
            const int32_t answer = reject(self, settle, r->last, unsettling[i]);
            check(self, SETTLE_STATUS, answer == SLIPSTREAM_INVALID_ARGUMENT, "status %d gave %d",
                  (int)unsettling[i], (int)answer);
        }
        const int32_t answer = reject(self, settle, r->last + 1, SLIPSTREAM_FAILED);
        check(self, SETTLE_OUTSIDE, answer == SLIPSTREAM_INVALID_ARGUMENT,
              "ordinal %llu of a run up to %llu gave %d", (unsigned long long)r->last + 1,
              (unsigned long long)r->last, (int)answer);
    }
    for (uint64_t ordinal = r->first; ordinal <= r->last; ordinal++) {
        if (ordinal % self->reject_every != 0)
            continue;
        const int32_t answer = reject(self, settle, ordinal, SLIPSTREAM_INVALID_ARGUMENT);
        const int32_t again = reject(self, settle, ordinal, SLIPSTREAM_FAILED);
        check(self, SETTLE_REJECT, answer == SLIPSTREAM_OK && again == SLIPSTREAM_OK,
              "ordinal %llu gave %d, then %d", (unsigned long long)ordinal, (int)answer,
              (int)again);
        remember_settled(self, ordinal);
        self->rejected++;
    }
}

/* With EXPLICIT_ACK: what is acknowledged can no longer be rejected. */
static void check_settle_acked(probe *self, const run *r) {
    const slipstream_settle_v1 *settle = extension(self, SLIPSTREAM_EXT_SETTLE);
    if (settle == NULL || self->reject_every == 0 || self->ack_every == 0 || r->is_gap ||
        (self->flags & SLIPSTREAM_FLAG_EXPLICIT_ACK) == 0 || r->status != SLIPSTREAM_OK ||
        self->calls != self->ack_every)
        return;
    const int32_t answer = reject(self, settle, r->first, SLIPSTREAM_FAILED);
    check(self, SETTLE_OUTSIDE, answer == SLIPSTREAM_INVALID_ARGUMENT,
          "ordinal %llu, which is acknowledged, gave %d", (unsigned long long)r->first,
          (int)answer);
}

/* ---- The answer --------------------------------------------------------------------- */

static int32_t decide(probe *self, run *r) {
    if (self->calls == self->panic_at)
        return SLIPSTREAM_PANIC;
    if (self->calls == self->fatal_at)
        return SLIPSTREAM_FATAL;
    if (r->count > 1)
        self->runs++;
    if (r->count > 1 && (r->refused + r->retried > 0 ||
                         (self->undo_every != 0 && self->runs % self->undo_every == 0)))
        return SLIPSTREAM_FAILED; /* undone: each of them comes again alone */
    if (r->retried > 0)
        return SLIPSTREAM_RETRY;
    return r->refused > 0 ? SLIPSTREAM_FAILED : SLIPSTREAM_OK;
}

static void note_answer(probe *self, const run *r) {
    if (is_concurrent(self) || self->history == NULL || r->status == SLIPSTREAM_OK)
        return;
    if (r->count > 1) {
        self->undone_until = r->last;
        self->history->next = r->first;
    } else if (r->status == SLIPSTREAM_RETRY) {
        self->retries++;
        self->retried = r->last;
        self->retried_attempt = r->attempt;
        self->history->next = r->last;
    } else if (r->status == SLIPSTREAM_FAILED) {
        self->refused++;
        remember_settled(self, r->last);
    }
    self->is_fatal = r->status == SLIPSTREAM_FATAL;
}

int32_t take_run(probe *self, const slipstream_delivery *delivery, const uint8_t *frames,
                 size_t len) {
    if (!check(self, DELIVERY_NULL, delivery != NULL && frames != NULL, "delivery %p, frames %p",
               (const void *)delivery, (const void *)frames) ||
        !check(self, DELIVERY_SIZE, delivery->struct_size >= SLIPSTREAM_DELIVERY_SIZE_1_0,
               "struct_size is %u", (unsigned)delivery->struct_size))
        return SLIPSTREAM_OK; /* an event that is refused would only hide the cause */
    run r = {.delivery = delivery,
             .first = delivery->first_ordinal,
             .last = delivery->first_ordinal,
             .attempt = delivery->attempt,
             .count = delivery->count};
    const uint64_t before = hash_of(frames, len);
    check(self, DELIVERY_ATTEMPT, r.attempt >= 1, "attempt is 0");
    check(self, DELIVERY_FLAGS, delivery->flags == 0 || !self->is_1_0, "flags are %#x",
          (unsigned)delivery->flags);
    pthread_mutex_lock(&self->lock);
    self->calls++;
    if (check_frames(self, frames, len, &r)) {
        if (r.last > self->delivered)
            self->delivered = r.last;
        r.status = decide(self, &r);
        check_settle(self, &r);
        check_ack(self, &r);
        check_settle_acked(self, &r);
        if (self->calls == 1) {
            check_config_state(self, "on_broadcast");
            check_peers(self);
        }
        note_answer(self, &r);
    }
    pthread_mutex_unlock(&self->lock);
    wait_ms(self->slow_ms);
    check(self, DELIVERY_STABLE, hash_of(frames, len) == before, "%zu bytes have changed", len);
    return r.status == SLIPSTREAM_OK ? SLIPSTREAM_OK : fail(self, r.status, "as its config wants");
}
