/* ring_resume: what happens to a ring between two consumers. */
#include "ring/inner.h"

#include <stdlib.h>

/* The record that holds this ordinal, as an event or in its gap; NULL if none does. */
static const ss_record *find_record(ss_ring *ring, uint64_t ordinal) {
    /* Whoever looks for one after the other need not start from the tail each time. */
    if (ring->found_at < ring->tail || ordinal < ring->found_ordinal)
        ring->found_at = ring->tail;
    for (; ring->found_at != ring->at;
         ring->found_at += ss_record_len(ss_record_at(ring, ring->found_at))) {
        const ss_record *record = ss_record_at(ring, ring->found_at);
        if (ss_record_last(record) >= ordinal) {
            ring->found_ordinal = ordinal;
            return record;
        }
    }
    return NULL;
}

const uint8_t *ss_ring_find(ss_ring *ring, uint64_t ordinal, size_t *len) {
    ss_ring_take_back(ring);
    if (ordinal <= ring->acked || ordinal > ring->published || ordinal <= ring->tail_ordinal)
        return NULL;
    const uint64_t found_before = ring->found_at;
    const uint64_t ordinal_before = ring->found_ordinal;
    const ss_record *record = find_record(ring, ordinal);
    if (record == NULL || ordinal < record->first)
        return NULL;
    uint64_t at = 0;
    uint64_t reached = record->first;
    if (ring->found_at == found_before && ordinal_before >= reached && ordinal_before <= ordinal) {
        at = ring->found_frame;
        reached = ordinal_before;
    }
    const uint8_t *frames = ss_record_frames(record);
    for (; reached < ordinal; reached++)
        at += slipstream_load_u32(frames + at);
    ring->found_frame = at;
    *len = slipstream_load_u32(frames + at);
    return frames + at;
}

ss_gap_block ss_ring_find_gap(ss_ring *ring, uint64_t ordinal) {
    ss_gap_block gap = {0};
    if (ordinal <= ring->acked || ordinal > ring->published)
        return gap;
    if (ordinal <= ring->tail_ordinal) { /* dropped as the oldest */
        gap = ring->dropped;
        gap.first = ring->acked + 1;
        gap.last = ring->tail_ordinal;
        return gap;
    }
    const ss_record *record = find_record(ring, ordinal);
    if (record != NULL && ordinal < record->first)
        gap = ss_record_gap(record);
    return gap;
}

const ss_skip *ss_ring_find_skip(const ss_ring_head *head, uint64_t ordinal, bool is_gap) {
    for (uint64_t i = 0; i < head->skip_count; i++)
        if (head->skips[i].ordinal == ordinal && (head->skips[i].is_gap != 0) == is_gap)
            return &head->skips[i];
    return NULL;
}

static void forget_skips(ss_ring_head *head, uint64_t acked) {
    uint64_t kept = 0;
    for (uint64_t i = 0; i < head->skip_count; i++)
        if (head->skips[i].ordinal > acked)
            head->skips[kept++] = head->skips[i];
    head->skip_count = kept;
}

size_t ss_ring_skip(ss_ring *ring, uint64_t ordinal, uint32_t reason, uint8_t **out) {
    ss_ring_head *head = ring->head;
    uint8_t made[SS_GAP_FRAME_LEN];
    size_t len = 0;
    const uint8_t *frame = ss_ring_find(ring, ordinal, &len); /* looks at what is acknowledged */
    forget_skips(head, ring->acked);
    const ss_skip *event = ss_ring_find_skip(head, ordinal, false);
    const bool is_gap = frame == NULL || event != NULL;
    if (ss_ring_find_skip(head, ordinal, true) != NULL || head->skip_count == SS_SKIPS)
        return 0;
    if (is_gap) { /* beside the event's own skip, which still has to be kept to */
        const ss_gap_block gap = frame != NULL ? ss_gap_of(frame, ordinal, event->reasons)
                                               : ss_ring_find_gap(ring, ordinal);
        if (gap.last == 0)
            return 0;
        ss_gap_write(made, &gap);
        frame = made;
        len = sizeof made;
    }
    if (!is_gap) {
        ring->lost++;
        ss_losses_count(&ring->losses, 1, reason);
    }
    head->skips[head->skip_count++] = (ss_skip){ordinal, reason, is_gap};
    if (out != NULL) {
        *out = malloc(len);
        if (*out != NULL)
            memcpy(*out, frame, len);
    }
    return len;
}

/* What the consumer had copied out before it was dropped went with the copy. */
static void lose_taken(ss_ring *ring) {
    const uint64_t taken = ss_outcomes_lose_taken(&ring->outcomes);
    ring->lost += taken;
    ss_losses_count(&ring->losses, taken, SLIPSTREAM_GAP_DROPPED_OLDEST);
    if (ring->dropped_unacked.last > ring->acked) {
        ring->dropped = ring->dropped_unacked;
        ss_ring_show_dropped(ring);
    }
}

/* What was refused and is not acknowledged is stepped over, as far as there is room to say so;
 * what is offered again all the same is known when it is refused again. */
static void skip_dead(ss_ring *ring) {
    ss_ring_head *head = ring->head;
    for (uint64_t ordinal = ring->acked;
         head->skip_count < SS_SKIPS &&
         (ordinal = ss_outcomes_next_dead(&ring->outcomes, ordinal)) != 0;) {
        size_t len;
        if (ss_ring_find_skip(head, ordinal, false) == NULL &&
            ss_ring_find(ring, ordinal, &len) != NULL)
            head->skips[head->skip_count++] = (ss_skip){ordinal, SS_SKIP_SETTLED, 0};
    }
}

uint64_t ss_ring_prepare_resume(ss_ring *ring) {
    ss_ring_head *head = ring->head;
    ss_ring_take_back(ring);
    ss_ring_hear_started(ring);
    const uint64_t acked = ring->acked;
    /* Only a consumer that was handed something has made an attempt. */
    const bool ran = ring->started > head->resume_after;
    if (head->replay_until <= acked)
        head->attempt = 1;
    if (ran && ring->started > acked)
        head->attempt++;
    if (head->replay_until < acked)
        head->replay_until = acked;
    if (head->replay_until < ring->started)
        head->replay_until = ring->started;
    head->resume_after = acked;
    head->resume_at = ring->tail;
    forget_skips(head, acked);
    lose_taken(ring);
    skip_dead(ring);
    ss_ring_begin_control(ring);
    return head->replay_until - acked;
}
