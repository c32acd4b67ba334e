/* account: what became of a ring's events, and what is left of them in the end. */
#include "ring/inner.h"

void ss_ring_lose(ss_ring *ring, const uint8_t *frame, uint32_t reason) {
    const ss_gap_block one = ss_gap_of(frame, ++ring->last, reason);
    ss_gap_add(&ring->owed, &one);
    ss_outcomes_note(&ring->outcomes, one.first, one.last, SS_NOTED_LOST);
    ring->lost++;
    ss_losses_note(&ring->losses, one.first, 1, reason);
}

uint64_t ss_ring_lost(const ss_ring *ring) {
    return ring->lost;
}

ss_losses *ss_ring_losses(ss_ring *ring) {
    return &ring->losses;
}

/* Those behind `settled` that are told of by this gap. */
static uint64_t count_gap(const ss_gap_block *gap, uint64_t settled) {
    if (gap->last <= settled)
        return 0;
    return gap->last - (gap->first > settled ? gap->first - 1 : settled);
}

uint64_t ss_ring_count_waiting(ss_ring *ring) {
    ss_ring_take_back(ring);
    const uint64_t settled = ring->outcomes.settled;
    /* What is not in the ring any more is noted: as lost, refused, or with the consumer. */
    uint64_t count = count_gap(&ring->owed, settled) +
                     ss_outcomes_count_noted(&ring->outcomes, settled + 1, ring->tail_ordinal);
    for (uint64_t at = ring->tail; at != ring->at;
         at += ss_record_len(ss_record_at(ring, at))) {
        const ss_record *record = ss_record_at(ring, at);
        const ss_gap_block gap = ss_record_gap(record);
        const uint64_t events = ss_record_count(record);
        const uint64_t last = ss_record_last(record);
        count += count_gap(&gap, settled);
        if (record->first > settled)
            count += events;
        else if (last > settled)
            count += last - settled;
    }
    return count;
}

bool ss_ring_is_awake(const ss_ring *ring, uint32_t *sleep) {
    *sleep = atomic_load_explicit(&ring->control->sleeping, memory_order_relaxed);
    return *sleep == 0 || *sleep == ring->woken;
}

ss_outcomes *ss_ring_outcomes(ss_ring *ring) {
    return &ring->outcomes;
}

/* What is lost in front of the event `ordinal`, or at the end, from `ordinal` on. */
static ss_gap_block lost_from(ss_ring *ring, uint64_t ordinal) {
    ss_gap_block gap = ss_ring_find_gap(ring, ordinal);
    if (gap.last == 0 && ordinal > ring->published)
        gap = ring->owed;
    if (gap.first < ordinal)
        gap.first = ordinal;
    return gap;
}

static bool is_dead_gap(const ss_ring *ring, uint64_t first, uint64_t last) {
    return ss_outcomes_count_dead(&ring->outcomes, first, last) == last - first + 1;
}

const uint8_t *ss_ring_leftover(ss_ring *ring, uint64_t *ordinal, size_t *len, uint8_t *made) {
    if (*ordinal < ss_ring_acked(ring))
        *ordinal = ring->acked;
    while (*ordinal < ring->last) {
        const uint64_t next = *ordinal + 1;
        const uint8_t *frame = ss_ring_find(ring, next, len);
        const ss_gap_block gap = frame != NULL ? (ss_gap_block){0} : lost_from(ring, next);
        *ordinal = gap.last != 0 ? gap.last : next;
        if (frame != NULL && !ss_outcomes_is_dead(&ring->outcomes, next))
            return frame;
        /* But for a GAP that is a dead letter itself. */
        if (gap.last != 0 && !is_dead_gap(ring, next, gap.last)) {
            ss_gap_write(made, &gap);
            *len = SS_GAP_FRAME_LEN;
            return made;
        }
    }
    return NULL;
}
