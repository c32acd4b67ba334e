/* ring_inner: what a ring is made of, for the files that make it. */
#ifndef SS_RING_INNER_H
#define SS_RING_INNER_H

#include "ring/ring.h"

#include <string.h>

struct ss_ring {
    ss_ring_head *head;
    uint8_t *data;
    ss_control *control; /* `nobody` as long as there is none */
    size_t bytes;
    uint64_t at;         /* what head->head says */
    uint64_t tail;       /* what head->tail says */
    uint64_t last;       /* ordinal given out last */
    uint64_t published;  /* ordinal that stands in the ring last */
    ss_gap_block owed;   /* lost at the end, not yet told */
    uint32_t fences;
    uint32_t woken;      /* the sleep that was ended last */
    uint32_t overflow;
    bool reserved_gap;
    bool shared;
    bool sane;
    int fd;
    uint64_t tail_ordinal;
    uint64_t acked;
    uint64_t started; /* the highest one heard of, from whatever consumer */
    uint64_t lost;
    uint64_t taken; /* with drop_oldest: what this consumer had copied out, when last heard of */
    /* drop_oldest: what was dropped before the consumer took it; all that was dropped and
     * is not acknowledged. */
    ss_gap_block dropped;
    ss_gap_block dropped_unacked;
    /* Where ss_ring_find was last: the next search goes on from there. */
    uint64_t found_at;
    uint64_t found_ordinal;
    uint64_t found_frame;
    ss_control *nobody;
    ss_outcomes outcomes;
    ss_losses losses;
};

static inline const ss_record *ss_record_at(const ss_ring *ring, uint64_t at) {
    return (const ss_record *)(const void *)(ring->data + (at & (ring->bytes - 1)));
}

static inline uint32_t ss_record_count(const ss_record *record) {
    return record->count & ~SS_RECORD_HAS_GAP;
}

static inline size_t ss_record_head(const ss_record *record) {
    return sizeof *record + ((record->count & SS_RECORD_HAS_GAP) != 0 ? sizeof(ss_gap_block) : 0);
}

static inline size_t ss_record_len(const ss_record *record) {
    return ss_record_head(record) + record->bytes;
}

static inline uint64_t ss_record_last(const ss_record *record) {
    return record->first + ss_record_count(record) - 1;
}

static inline const uint8_t *ss_record_frames(const ss_record *record) {
    return (const uint8_t *)record + ss_record_head(record);
}

/* The gap in front of a record; empty if there is none. */
static inline ss_gap_block ss_record_gap(const ss_record *record) {
    ss_gap_block gap = {0};
    if ((record->count & SS_RECORD_HAS_GAP) != 0)
        memcpy(&gap, record + 1, sizeof gap);
    return gap;
}

/* In ring.c: takes back what is acknowledged; raises `started` to what the consumer was at,
 * once it is gone; makes the control area ready for the next one; shows head->lost. */
void ss_ring_take_back(ss_ring *ring);
void ss_ring_hear_started(ss_ring *ring);
void ss_ring_begin_control(ss_ring *ring);
void ss_ring_show_dropped(ss_ring *ring);

/* In resume.c: the gap that a GAP with this ordinal would tell of; empty if there is none. */
ss_gap_block ss_ring_find_gap(ss_ring *ring, uint64_t ordinal);
const ss_skip *ss_ring_find_skip(const ss_ring_head *head, uint64_t ordinal, bool is_gap);

#endif
