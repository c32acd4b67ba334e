/* ring_source: a producer that sends events of all sizes into a ring; for the tests of rings. */
#ifndef RING_SOURCE_H
#define RING_SOURCE_H

#include "ring_tools.h"

typedef struct source {
    ss_ring *ring;
    uint64_t random;
    uint64_t pause_every;
    uint32_t largest_run;
    size_t large; /* now and then an event of up to so many bytes */
    uint8_t *run;
    uint64_t lost;
} source;

static inline size_t pick_len(source *s) {
    size_t len = FRAME_LEAST + 8 * below(&s->random, 20);
    if (s->large != 0 && below(&s->random, 50) == 0)
        len = FRAME_LEAST + 8 * below(&s->random, (s->large - FRAME_LEAST) / 8 + 1);
    if (s->large != 0 && below(&s->random, 200) == 0)
        len = s->large;
    return len;
}

/* Puts up to `count` events as one run, or one in place. False: there is no room. */
static inline bool put(source *s, uint32_t count, size_t *first_len) {
    ss_ring *ring = s->ring;
    size_t len = *first_len;
    if (count == 1 && below(&s->random, 2) == 0) {
        uint8_t *place = ss_ring_reserve(ring, len);
        if (place == NULL)
            return false;
        write_event(place, len, ring->last + 1);
        ss_ring_commit(ring, len, 1);
        return true;
    }
    write_event(s->run, len, ring->last + 1);
    for (uint32_t i = 1; i < count; i++) {
        const size_t more = FRAME_LEAST + 8 * below(&s->random, 20);
        write_event(s->run + len, more, ring->last + 1 + i);
        len += more;
    }
    return ss_ring_put(ring, s->run, len, count);
}

static inline void lose(source *s, uint32_t reason) {
    uint8_t frame[FRAME_LEAST];
    write_event(frame, sizeof frame, s->ring->last + 1);
    ss_ring_lose(s->ring, frame, reason);
    s->lost++;
}

static inline uint32_t pick_count(source *s, uint64_t until) {
    const uint64_t left = until - s->ring->last;
    uint64_t count = below(&s->random, 2) == 0 ? 1 : 1 + below(&s->random, s->largest_run);
    if (s->large != 0)
        count = 1;
    return (uint32_t)(count < left ? count : left);
}

static inline void breathe(source *s) {
    if (s->pause_every != 0 && below(&s->random, s->pause_every) == 0)
        usleep((useconds_t)below(&s->random, 300));
}

static inline void check_bounds(ss_ring *ring) {
    REQUIRE(ring->at - ring->tail <= ring->bytes, "%llu to %llu", (llu)ring->tail,
            (llu)ring->at);
    REQUIRE(ring->tail_ordinal <= ring->published && ring->published <= ring->last, "ordinals");
    REQUIRE(ss_ring_is_sane(ring), "the ring took its own consumer for damaged");
}

static inline void restart_if_crashed(plugin *p, ss_ring *ring) {
    if (atomic_load(&p->ended) == 0)
        return;
    join(p);
    REQUIRE(p->crashed, "the consumer returned %u", p->reason);
    const uint64_t acked_before = ss_ring_acked(ring);
    start(p, ring);
    REQUIRE(ring->head->resume_after == acked_before, "resume");
}

/* Sends events until `until` of them were given out. */
static inline void produce(source *s, plugin *p, uint64_t until, bool tell_all) {
    ss_ring *ring = s->ring;
    patience wait = {0};
    while (ring->last < until) {
        const uint32_t count = pick_count(s, until);
        size_t len = pick_len(s);
        if (below(&s->random, 1000) == 0) {
            lose(s, SLIPSTREAM_GAP_TOO_LARGE);
            continue;
        }
        for (wait.since = 0; !put(s, count, &len); be_patient(&wait, ss_ring_acked(ring), "put")) {
            restart_if_crashed(p, ring);
            check_bounds(ring);
            if (ring->overflow == SS_OVERFLOW_DROP_NEWEST) {
                lose(s, SLIPSTREAM_GAP_DROPPED_NEWEST);
                break;
            }
            if (ring->overflow == SS_OVERFLOW_DROP_OLDEST) {
                lose(s, SLIPSTREAM_GAP_DROPPED_OLDEST);
                break;
            }
            if (below(&s->random, 4) == 0)
                atomic_fetch_add(&ring->head->flush_wanted, 1);
            ss_ring_wake(ring);
            sched_yield();
        }
        ss_ring_wake(ring);
        breathe(s);
        restart_if_crashed(p, ring);
    }
    for (wait.since = 0; tell_all && !ss_ring_tell_lost(ring);
         be_patient(&wait, ss_ring_acked(ring), "tell")) {
        restart_if_crashed(p, ring);
        atomic_fetch_add(&ring->head->flush_wanted, 1);
        ss_ring_wake(ring);
        sched_yield();
    }
    ss_ring_wake(ring);
}

/* Ends it, through as many crashes as it takes, and looks at the ledger. */
static inline void finish(source *s, plugin *p) {
    ss_ring *ring = s->ring;
    patience wait = {0};
    order_stop(ring);
    for (;;) {
        while (atomic_load(&p->ended) == 0) {
            be_patient(&wait, ss_ring_acked(ring) + p->calls, "stop");
            usleep(100);
        }
        if (!p->crashed)
            break;
        restart_if_crashed(p, ring);
    }
    join(p);
    REQUIRE(p->reason == SS_CONSUMED_BOUNDARY, "%u", p->reason);
    REQUIRE(ss_ring_acked(ring) == ring->last, "%llu of %llu acknowledged",
            (llu)ss_ring_acked(ring), (llu)ring->last);
    REQUIRE(ss_ring_used(ring) == 0, "%zu bytes in use", ss_ring_used(ring));
    check_bounds(ring);
    uint64_t in_gap = 0;
    for (uint64_t ordinal = 1; ordinal <= ring->last; ordinal++) {
        const uint8_t entry = p->ledger[ordinal];
        REQUIRE((entry & (TAKEN | IN_GAP | REFUSED)) != 0, "%llu is missing", (llu)ordinal);
        in_gap += (entry & IN_GAP) != 0 && (entry & (TAKEN | REFUSED)) == 0;
    }
    REQUIRE(in_gap == ss_ring_lost(ring), "%llu in gaps, %llu counted as lost",
            (llu)in_gap, (llu)ss_ring_lost(ring));
    REQUIRE(ring->overflow != SS_OVERFLOW_BLOCK || in_gap == s->lost, "%llu in gaps, not %llu",
            (llu)in_gap, (llu)s->lost);
}

static inline source new_source(size_t bytes, uint32_t overflow, uint64_t seed) {
    source s = {.ring = ss_ring_new(bytes, false, overflow), .random = seed * 2 + 1};
    REQUIRE(s.ring != NULL, "%s", strerror(errno));
    s.run = malloc(bytes);
    s.largest_run = 100;
    REQUIRE(s.run != NULL, "memory");
    return s;
}

static inline void end_source(source *s) {
    ss_ring_free(s->ring);
    free(s->run);
}

#endif
