/* test_ring: ring and consumer on two threads of one process.
 *
 *   test_ring TEST SEED SCALE     SCALE 1 takes a few seconds, 10 ten times as long */
#include "ring_tools.h"

#include <stdarg.h>

/* ---- The producer ---------------------------------------------------------------------- */

typedef struct source {
    ss_ring *ring;
    uint64_t random;
    uint64_t pause_every;
    uint32_t largest_run;
    size_t large; /* now and then an event of up to so many bytes */
    uint8_t *run;
    uint64_t lost;
} source;

static size_t pick_len(source *s) {
    size_t len = FRAME_LEAST + 8 * below(&s->random, 20);
    if (s->large != 0 && below(&s->random, 50) == 0)
        len = FRAME_LEAST + 8 * below(&s->random, (s->large - FRAME_LEAST) / 8 + 1);
    if (s->large != 0 && below(&s->random, 200) == 0)
        len = s->large;
    return len;
}

/* Puts up to `count` events as one run, or one in place. False: there is no room. */
static bool put(source *s, uint32_t count, size_t *first_len) {
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

static void lose(source *s, uint32_t reason) {
    uint8_t frame[FRAME_LEAST];
    write_event(frame, sizeof frame, s->ring->last + 1);
    ss_ring_lose(s->ring, frame, reason);
    s->lost++;
}

static uint32_t pick_count(source *s, uint64_t until) {
    const uint64_t left = until - s->ring->last;
    uint64_t count = below(&s->random, 2) == 0 ? 1 : 1 + below(&s->random, s->largest_run);
    if (s->large != 0)
        count = 1;
    return (uint32_t)(count < left ? count : left);
}

static void breathe(source *s) {
    if (s->pause_every != 0 && below(&s->random, s->pause_every) == 0)
        usleep((useconds_t)below(&s->random, 300));
}

static void check_bounds(ss_ring *ring) {
    REQUIRE(ring->at - ring->tail <= ring->bytes, "%llu to %llu", (llu)ring->tail,
            (llu)ring->at);
    REQUIRE(ring->tail_ordinal <= ring->published && ring->published <= ring->last, "ordinals");
    REQUIRE(ss_ring_is_sane(ring), "the ring took its own consumer for damaged");
}

static void restart_if_crashed(plugin *p, ss_ring *ring) {
    if (atomic_load(&p->ended) == 0)
        return;
    join(p);
    REQUIRE(p->crashed, "the consumer returned %u", p->reason);
    const uint64_t acked_before = ss_ring_acked(ring);
    start(p, ring);
    REQUIRE(ring->head->resume_after == acked_before, "resume");
}

/* Sends events until `until` of them were given out. */
static void produce(source *s, plugin *p, uint64_t until, bool tell_all) {
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
static void finish(source *s, plugin *p) {
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

static source new_source(size_t bytes, uint32_t overflow, uint64_t seed) {
    source s = {.ring = ss_ring_new(bytes, false, overflow), .random = seed * 2 + 1};
    REQUIRE(s.ring != NULL, "%s", strerror(errno));
    s.run = malloc(bytes);
    s.largest_run = 100;
    REQUIRE(s.run != NULL, "memory");
    return s;
}

static void end_source(source *s) {
    ss_ring_free(s->ring);
    free(s->run);
}

/* ---- flow: all policies, sizes and paces ------------------------------------------------- */

static void flow_once(uint32_t overflow, size_t bytes, uint32_t flags, uint64_t n, uint64_t pace,
                      bool large, uint64_t crash_every, uint64_t seed) {
    source s = new_source(bytes, overflow, seed);
    plugin *p = new_plugin(flags, n, seed);
    s.large = large ? bytes - sizeof(ss_record) - sizeof(ss_gap_block) : 0;
    s.pause_every = pace == 1 ? 50 : pace == 3 ? 300 : 0;
    p->slow_every = pace == 2 ? 50 : 0;
    p->crash_every = crash_every;
    start(p, s.ring);
    produce(&s, p, n, true);
    finish(&s, p);
    if (crash_every == 0)
        REQUIRE((flags & SLIPSTREAM_FLAG_EXPLICIT_ACK) != 0 || p->repeats == 0, "repeats");
    if ((p->reasons & SLIPSTREAM_GAP_DROPPED_OLDEST) != 0)
        REQUIRE(overflow == SS_OVERFLOW_DROP_OLDEST, "reasons %u", p->reasons);
    printf("overflow %u, %7zu bytes, flags %2u, pace %llu, %s: %llu events, %llu calls, "
           "%llu gaps, %llu lost, %llu repeats\n",
           overflow, bytes, flags, (llu)pace, large ? "large" : "small", (llu)s.ring->last,
           (llu)p->calls, (llu)p->gaps, (llu)ss_ring_lost(s.ring), (llu)p->repeats);
    free_plugin(p);
    end_source(&s);
}

static void flow(uint64_t seed, uint64_t scale, uint64_t crash_every) {
    for (uint32_t overflow = 0; overflow <= SS_OVERFLOW_DROP_OLDEST; overflow++)
        for (uint32_t batch = 0; batch < 2; batch++)
            for (uint64_t pace = 0; pace < 3; pace++) {
                const uint32_t flags = batch != 0 ? SLIPSTREAM_FLAG_BATCH : 0;
                const uint64_t n = (pace == 0 ? 60000 : 8000) * scale;
                flow_once(overflow, SS_RING_MIN, flags, n, pace, false, crash_every, seed++);
                flow_once(overflow, SS_RING_MIN, flags, n / 10, pace, true, crash_every, seed++);
                flow_once(overflow, 1024 * 1024, flags, n, pace, false, crash_every, seed++);
            }
    /* A consumer that nearly keeps up: dropping and copying meet all the time. */
    for (uint32_t batch = 0; batch < 2; batch++)
        flow_once(SS_OVERFLOW_DROP_OLDEST, SS_RING_MIN, batch != 0 ? SLIPSTREAM_FLAG_BATCH : 0,
                  60000 * scale, 3, batch != 0, crash_every, seed++);
    for (uint64_t pace = 0; pace < 3; pace++) {
        const uint32_t flags = SLIPSTREAM_FLAG_EXPLICIT_ACK;
        const uint64_t n = (pace == 0 ? 60000 : 8000) * scale;
        for (uint32_t overflow = 0; overflow < SS_OVERFLOW_DROP_OLDEST; overflow++) {
            flow_once(overflow, SS_RING_MIN, flags, n, pace, false, crash_every, seed++);
            flow_once(overflow, SS_RING_MIN, flags | SLIPSTREAM_FLAG_BATCH, n / 10, pace, true,
                      crash_every, seed++);
        }
    }
}

/* ---- wake: no wake-up is lost ------------------------------------------------------------ */

static void wake(uint64_t seed, uint64_t scale) {
    source s = new_source(SS_RING_MIN, SS_OVERFLOW_BLOCK, seed);
    const uint64_t n = 50000 * scale;
    plugin *p = new_plugin(0, n, seed);
    uint64_t slowest = 0;
    uint64_t parks = 0;
    uint64_t delay = 0;
    uint32_t woken = 0;
    start(p, s.ring);
    for (uint64_t i = 1; i <= n; i++) {
        size_t len = FRAME_LEAST;
        patience wait = {0};
        /* Put just when it falls asleep: later if it did not yet, earlier if it does. Now and
         * then when it certainly sleeps. */
        const ss_control *control = s.ring->control;
        if (below(&s.random, 16) == 0)
            for (uint64_t looks = 1; atomic_load(&control->sleeping) == 0; looks++)
                if (looks % 4096 == 0) {
                    be_patient(&wait, i, "sleep");
                    sched_yield();
                }
        for (uint64_t spins = delay; spins > 0; spins--)
            atomic_signal_fence(memory_order_seq_cst);
        const uint64_t before = ss_clock_ns(CLOCK_MONOTONIC);
        REQUIRE(put(&s, 1, &len), "room");
        for (uint64_t spins = below(&s.random, 16) == 0 ? below(&s.random, 20000) : 0; spins > 0;
             spins--)
            atomic_signal_fence(memory_order_seq_cst); /* it may be delivered by now */
        ss_ring_wake(s.ring);
        const bool slept = s.ring->woken != woken;
        const uint64_t change = below(&s.random, 64);
        woken = s.ring->woken;
        parks += slept;
        delay = !slept ? delay + change : delay > change ? delay - change : 0;
        for (uint64_t looks = 1; ss_ring_acked(s.ring) < i; looks++)
            if (looks % 4096 == 0) {
                be_patient(&wait, i, "wake");
                sched_yield();
            }
        const uint64_t took = ss_clock_ns(CLOCK_MONOTONIC) - before;
        slowest = took > slowest ? took : slowest;
    }
    finish(&s, p);
    REQUIRE(parks > n / 20, "it hardly ever slept: %llu", (llu)parks);
    printf("%llu events, %llu to a sleeper, slowest %.1f ms\n", (llu)n, (llu)parks,
           (double)slowest / 1e6);
    free_plugin(p);
    end_source(&s);
}

/* ---- status: what the consumer does with what the plugin returns ------------------------- */

static int32_t any_status(plugin *self, uint64_t ordinal, const slipstream_delivery *delivery) {
    static const int32_t choice[] = {SLIPSTREAM_OK,     SLIPSTREAM_IGNORED, SLIPSTREAM_RETRY,
                                     SLIPSTREAM_FAILED, SLIPSTREAM_TIMEOUT, SLIPSTREAM_NO_MEMORY};
    int32_t status = SLIPSTREAM_OK;
    if (below(&self->random, 8) == 0)
        status = choice[below(&self->random, 6)];
    if (status < SLIPSTREAM_FAILED && delivery->count == 1 && delivery->attempt >= 3)
        status = SLIPSTREAM_FAILED; /* as the consumer is going to take it */
    if ((self->table.flags & SLIPSTREAM_FLAG_EXPLICIT_ACK) != 0 && status == SLIPSTREAM_OK &&
        below(&self->random, 3) == 0) {
        REQUIRE(self->host.table.ack(self->host.table.ctx, ordinal) == SLIPSTREAM_OK, "ack");
        usleep((useconds_t)below(&self->random, 50));
    }
    return status;
}

static uint64_t failed_count;
static void count_failed(void *context, int32_t status, uint64_t ordinal, const uint8_t *frame,
                         size_t len) {
    plugin *self = context;
    uint64_t acked;
    (void)status;
    if (slipstream_load_u16(frame + 6) != SLIPSTREAM_KIND_GAP) {
        REQUIRE(check_event(frame, len, ordinal) == len, "%zu", len);
        failed_count++;
    }
    ss_control *control = self->consumer.view.control;
    REQUIRE(ss_hear(&control->acked, self->consumer.view.head->key, SS_PLACE_ACKED, &acked) &&
                acked < ordinal,
            "acknowledged before it was written down");
}

static int32_t flaky_flush(plugin *self) {
    return below(&self->random, 10) == 0 ? SLIPSTREAM_IO : SLIPSTREAM_OK;
}

static void status(uint64_t seed, uint64_t scale) {
    for (uint32_t i = 0; i < 4; i++) {
        const uint32_t flags = ((i & 1) != 0 ? SLIPSTREAM_FLAG_BATCH : 0) |
                               ((i & 2) != 0 ? SLIPSTREAM_FLAG_EXPLICIT_ACK : 0);
        const uint64_t n = 3000 * scale;
        source s = new_source(SS_RING_MIN, SS_OVERFLOW_BLOCK, seed + i);
        plugin *p = new_plugin(flags, n, seed + i);
        ss_logq_set_level(p->log, 99);
        s.largest_run = 10;
        failed_count = 0;
        p->status = any_status;
        p->on_flush = flaky_flush;
        p->consumer.failed = count_failed;
        p->consumer.context = p;
        p->consumer.flush_idle_ms = 5;
        start(p, s.ring);
        produce(&s, p, n, true);
        /* Everything is acknowledged in the end, by idle flushes alone. */
        patience wait = {0};
        while (ss_ring_acked(s.ring) < n)
            be_patient(&wait, ss_ring_acked(s.ring), "ack");
        finish(&s, p);
        REQUIRE(failed_count > 0 && p->refused > 0, "%llu failed", (llu)failed_count);
        REQUIRE(atomic_load(&s.ring->control->failed) == failed_count, "counter");
        printf("flags %2u: %llu events, %llu failed, %llu flushes\n", flags, (llu)n,
               (llu)failed_count, (llu)p->flushes);
        free_plugin(p);
        end_source(&s);
    }
}

/* ---- script: single rules, one after the other ------------------------------------------- */

static int32_t script_status;
static uint64_t script_at;
static int32_t scripted(plugin *self, uint64_t ordinal, const slipstream_delivery *delivery) {
    (void)self;
    (void)delivery;
    return ordinal == script_at ? script_status : SLIPSTREAM_OK;
}

static int32_t refuse_flush(plugin *self) {
    (void)self;
    return SLIPSTREAM_IO;
}

static void put_some(source *s, uint64_t n) {
    for (uint64_t i = 0; i < n; i++) {
        size_t len = FRAME_LEAST;
        REQUIRE(put(s, 1, &len), "room");
    }
    ss_ring_wake(s->ring);
}

static void wait_acked(ss_ring *ring, uint64_t ordinal) {
    patience wait = {0};
    while (ss_ring_acked(ring) < ordinal)
        be_patient(&wait, 0, "acked");
}

static void wait_flushed(ss_ring *ring) {
    patience wait = {0};
    const uint32_t number = atomic_fetch_add(&ring->head->flush_wanted, 1) + 1;
    ss_ring_wake(ring);
    while (atomic_load(&ring->control->flush_done) != number)
        be_patient(&wait, 0, "flush");
}

static void wait_ended(plugin *p, uint32_t reason) {
    join(p);
    REQUIRE(p->reason == reason, "%u", p->reason);
}

/* FATAL and PANIC: nothing is acknowledged, the rest stays. */
static void script_end(int32_t with, uint32_t reason, uint32_t flags, uint64_t acked) {
    source s = new_source(SS_RING_MIN, SS_OVERFLOW_BLOCK, 1);
    plugin *p = new_plugin(flags, 100, 1);
    ss_logq_set_level(p->log, 99);
    p->status = scripted;
    script_at = 7;
    script_status = with;
    put_some(&s, 10);
    start(p, s.ring);
    wait_ended(p, reason);
    REQUIRE(ss_ring_acked(s.ring) == acked, "%llu", (llu)ss_ring_acked(s.ring));
    REQUIRE(ss_ring_prepare_resume(s.ring) == 7 - acked, "%llu to replay",
            (llu)(s.ring->head->replay_until - s.ring->head->resume_after));
    REQUIRE(s.ring->head->attempt == 2, "attempt %u", s.ring->head->attempt);
    ss_ring_prepare_resume(s.ring);
    REQUIRE(s.ring->head->attempt == 2, "an attempt that nobody made");
    free_plugin(p);
    end_source(&s);
}

/* EXPLICIT_ACK: what failed acknowledges nothing before it, but itself. */
static void script_explicit(void) {
    source s = new_source(SS_RING_MIN, SS_OVERFLOW_BLOCK, 1);
    plugin *p = new_plugin(SLIPSTREAM_FLAG_EXPLICIT_ACK, 10000, 1);
    ss_logq_set_level(p->log, 99);
    p->status = scripted;
    p->on_flush = refuse_flush;
    script_at = 1;
    script_status = SLIPSTREAM_FAILED;
    start(p, s.ring);
    put_some(&s, 1);
    wait_acked(s.ring, 1); /* nothing was before it */
    script_at = 3;
    put_some(&s, 2);
    wait_flushed(s.ring); /* refused */
    REQUIRE(atomic_load(&s.ring->control->flush_status) == SLIPSTREAM_IO, "status");
    REQUIRE(ss_ring_acked(s.ring) == 1, "%llu", (llu)ss_ring_acked(s.ring));
    REQUIRE(p->host.table.ack(p->host.table.ctx, 4) == SLIPSTREAM_INVALID_ARGUMENT, "too far");
    REQUIRE(p->host.table.ack(p->host.table.ctx, 2) == SLIPSTREAM_OK, "ack");
    REQUIRE(ss_ring_acked(s.ring) >= 2, "%llu", (llu)ss_ring_acked(s.ring));
    put_some(&s, 1);
    wait_flushed(s.ring);
    REQUIRE(ss_ring_acked(s.ring) == 3, "what failed behind an ack: %llu",
            (llu)ss_ring_acked(s.ring));
    p->on_flush = NULL;
    wait_flushed(s.ring);
    REQUIRE(ss_ring_acked(s.ring) == 4, "%llu", (llu)ss_ring_acked(s.ring));
    REQUIRE(atomic_load(&s.ring->control->flush_status) == SLIPSTREAM_OK, "status");
    /* Half of the ring delivered and not acknowledged: a flush of its own accord. */
    const uint64_t flushes = p->flushes;
    put_some(&s, SS_RING_MIN / 2 / (FRAME_LEAST + sizeof(ss_record)) + 1);
    wait_acked(s.ring, s.ring->last);
    REQUIRE(p->flushes == flushes + 1, "%llu flushes", (llu)(p->flushes - flushes));
    /* Less than that: none, since flush_idle_ms is 0. */
    put_some(&s, 10);
    usleep(50000);
    REQUIRE(p->flushes == flushes + 1, "%llu flushes", (llu)(p->flushes - flushes));
    order_stop(s.ring); /* flushes what is left */
    wait_ended(p, SS_CONSUMED_BOUNDARY);
    REQUIRE(ss_ring_acked(s.ring) == s.ring->last, "stop");
    free_plugin(p);
    end_source(&s);
}

/* RETRY while the host wants to stop: one last chance, and the event is kept. */
static void script_retry(void) {
    source s = new_source(SS_RING_MIN, SS_OVERFLOW_BLOCK, 1);
    plugin *p = new_plugin(0, 100, 1);
    p->status = scripted;
    p->consumer.max_attempts = 1000000;
    p->consumer.retry_delay_ms = 60000;
    script_at = 3;
    script_status = SLIPSTREAM_RETRY;
    put_some(&s, 5);
    start(p, s.ring);
    wait_acked(s.ring, 2);
    order_stop(s.ring);
    wait_ended(p, SS_CONSUMED_BOUNDARY);
    REQUIRE(ss_ring_acked(s.ring) == 2, "%llu", (llu)ss_ring_acked(s.ring));
    REQUIRE(atomic_load(&p->host.delivered) == 3, "delivered");
    free_plugin(p);
    end_source(&s);
}

/* The boundary lies inside of a run; pause holds back; is_stopping is told. */
static void script_boundary(void) {
    source s = new_source(SS_RING_MIN, SS_OVERFLOW_BLOCK, 1);
    plugin *p = new_plugin(SLIPSTREAM_FLAG_BATCH, 100, 1);
    size_t len = FRAME_LEAST;
    atomic_store(&s.ring->head->paused, 1);
    start(p, s.ring);
    REQUIRE(put(&s, 50, &len), "room");
    ss_ring_wake(s.ring);
    usleep(20000);
    REQUIRE(ss_ring_acked(s.ring) == 0, "delivered while paused");
    REQUIRE(p->host.table.is_stopping(p->host.table.ctx) == 0, "stopping");
    atomic_store(&s.ring->head->is_stopping, 1);
    REQUIRE(p->host.table.is_stopping(p->host.table.ctx) != 0, "not stopping");
    atomic_store(&s.ring->head->boundary, 20);
    atomic_store(&s.ring->head->stop_wanted, 1);
    atomic_store(&s.ring->head->paused, 0);
    ss_ring_wake(s.ring);
    wait_ended(p, SS_CONSUMED_BOUNDARY);
    /* Stop and the end of the pause may be seen in either order. */
    REQUIRE(ss_ring_acked(s.ring) == 20 || ss_ring_acked(s.ring) == 0, "%llu",
            (llu)ss_ring_acked(s.ring));
    atomic_store(&s.ring->head->stop_wanted, 0);
    start(p, s.ring);
    wait_acked(s.ring, 50);
    order_stop(s.ring);
    wait_ended(p, SS_CONSUMED_BOUNDARY);
    REQUIRE(p->repeats == 0, "%llu repeats", (llu)p->repeats);
    free_plugin(p);
    end_source(&s);
}

/* The end of what was broadcast is lost and not told of yet: the stop waits for it. */
static void script_late_end(void) {
    source s = new_source(SS_RING_MIN, SS_OVERFLOW_BLOCK, 1);
    plugin *p = new_plugin(0, 100, 1);
    struct timespec busy;
    clockid_t clock;
    start(p, s.ring);
    put_some(&s, 3);
    lose(&s, SLIPSTREAM_GAP_BLOCK_TIMEOUT);
    order_stop(s.ring);
    wait_acked(s.ring, 3);
    usleep(200000);
    REQUIRE(atomic_load(&p->ended) == 0, "it has not waited for ordinal 4");
    REQUIRE(pthread_getcpuclockid(p->thread, &clock) == 0 && clock_gettime(clock, &busy) == 0 &&
                busy.tv_sec == 0 && busy.tv_nsec < 40000000,
            "it does not sleep while it waits");
    REQUIRE(ss_ring_tell_lost(s.ring), "room");
    ss_ring_wake(s.ring);
    finish(&s, p);
    REQUIRE(p->gaps == 1, "%llu gaps", (llu)p->gaps);
    free_plugin(p);
    end_source(&s);
}

/* A ring that makes no sense: the consumer says so and returns. */
static void script_damage(uint64_t seed) {
    for (uint64_t i = 0; i < 100; i++) {
        const uint32_t overflow = i % 2 != 0 ? SS_OVERFLOW_DROP_OLDEST : SS_OVERFLOW_BLOCK;
        source s = new_source(SS_RING_MIN, overflow, seed + i);
        plugin *p = new_plugin(0, 100, 1);
        ss_logq_set_level(p->log, 99);
        put_some(&s, 20);
        const uint64_t at = below(&s.random, 4) * 4;
        uint8_t *record = s.ring->data + 5 * (FRAME_LEAST + sizeof(ss_record));
        const uint32_t word = (uint32_t)next_random(&s.random) | 1;
        memcpy(record + (at == 12 ? 16 : at), &word, sizeof word);
        prepare(p, s.ring);
        p->consumer.table = &p->table;
        REQUIRE(pthread_create(&p->thread, NULL, consumer_thread, p) == 0, "thread");
        wait_ended(p, SS_CONSUMED_DAMAGED);
        REQUIRE(atomic_load(&s.ring->control->damaged) == 1, "not told");
        REQUIRE(ss_ring_acked(s.ring) == 5, "%llu", (llu)ss_ring_acked(s.ring));
        free_plugin(p);
        end_source(&s);
    }
}

/* A poison goes, and a GAP stands in its place; the GAP itself may be one. */
static void script_poison(uint32_t flags) {
    source s = new_source(SS_RING_MIN, SS_OVERFLOW_BLOCK, 1);
    plugin *p = new_plugin(flags, 100, 1);
    size_t len = FRAME_LEAST;
    uint8_t *copy = NULL;
    p->poison = 30;
    REQUIRE(put(&s, 50, &len), "room");
    for (uint32_t crash = 0; crash < 6; crash++) {
        start(p, s.ring);
        join(p);
        REQUIRE(p->crashed, "crash %u", crash);
        REQUIRE(ss_ring_acked(s.ring) == (crash == 0 && (flags & SLIPSTREAM_FLAG_BATCH) ? 0 : 29),
                "crash %u: %llu", crash, (llu)ss_ring_acked(s.ring));
        if (crash % 3 != 2)
            continue;
        size_t found = 0;
        const uint8_t *frame = ss_ring_find(s.ring, 30, &found);
        REQUIRE(frame != NULL && check_event(frame, found, 30) == found, "find");
        const size_t size = ss_ring_skip(s.ring, 30, SLIPSTREAM_GAP_DEAD_LETTER, &copy);
        REQUIRE(size == (crash == 2 ? found : SS_GAP_FRAME_LEN) && copy != NULL,
                "%zu", size);
        if (crash == 2)
            REQUIRE(check_event(copy, size, 30) == size, "copy");
        free(copy);
    }
    REQUIRE(ss_ring_skip(s.ring, 30, 8, NULL) == 0 && ss_ring_skip(s.ring, 51, 8, NULL) == 0 &&
                ss_ring_skip(s.ring, 29, 8, NULL) == 0,
            "there is no such event");
    prepare(p, s.ring);
    p->expected = 31; /* neither of the two comes any more, and either would crash it */
    REQUIRE(pthread_create(&p->thread, NULL, consumer_thread, p) == 0, "thread");
    wait_acked(s.ring, 50);
    REQUIRE(ss_ring_lost(s.ring) == 1, "%llu lost", (llu)ss_ring_lost(s.ring));
    order_stop(s.ring);
    wait_ended(p, SS_CONSUMED_BOUNDARY);
    for (uint64_t i = 1; i <= 50; i++)
        REQUIRE(p->ledger[i] == (i == 30 ? OFFERED : TAKEN | OFFERED), "%llu: %u", (llu)i,
                p->ledger[i]);
    free_plugin(p);
    end_source(&s);
}

/* The skipped one is told of by one GAP with its reason, in order. */
static void script_skip(void) {
    source s = new_source(SS_RING_MIN, SS_OVERFLOW_BLOCK, 1);
    plugin *p = new_plugin(SLIPSTREAM_FLAG_BATCH, 100, 1);
    size_t len = FRAME_LEAST;
    REQUIRE(put(&s, 50, &len), "room");
    for (uint64_t i = 0; i < SS_SKIPS; i++)
        REQUIRE(ss_ring_skip(s.ring, 50 - 3 * i, SLIPSTREAM_GAP_DEAD_LETTER, NULL) != 0, "skip");
    REQUIRE(ss_ring_skip(s.ring, 2, SLIPSTREAM_GAP_DEAD_LETTER, NULL) == 0, "one too many");
    start(p, s.ring);
    wait_acked(s.ring, 50);
    order_stop(s.ring);
    wait_ended(p, SS_CONSUMED_BOUNDARY);
    REQUIRE(p->gaps == SS_SKIPS && p->reasons == SLIPSTREAM_GAP_DEAD_LETTER, "%llu gaps",
            (llu)p->gaps);
    free_plugin(p);
    end_source(&s);
}

/* Walking over what is left, forwards and from anywhere. */
static void script_find(uint64_t seed) {
    source s = new_source(1024 * 1024, SS_OVERFLOW_BLOCK, seed);
    size_t found = 0;
    while (s.ring->last < 3000) {
        size_t len = FRAME_LEAST;
        if (below(&s.random, 10) == 0)
            lose(&s, SLIPSTREAM_GAP_PAUSED);
        else
            REQUIRE(put(&s, 1 + (uint32_t)below(&s.random, 9), &len), "room");
    }
    uint64_t events = 0;
    for (uint64_t i = 0; i <= s.ring->last + 1; i++) {
        const uint8_t *frame = ss_ring_find(s.ring, i, &found);
        events += frame != NULL;
        if (frame != NULL)
            REQUIRE(check_event(frame, found, i) == found, "%zu", found);
    }
    REQUIRE(events == s.ring->last - s.lost, "%llu found", (llu)events);
    for (uint64_t i = 0; i < 10000; i++) {
        const uint64_t ordinal = below(&s.random, s.ring->last + 2);
        const uint8_t *frame = ss_ring_find(s.ring, ordinal, &found);
        if (frame != NULL)
            REQUIRE(check_event(frame, found, ordinal) == found, "%zu", found);
    }
    end_source(&s);
}

/* With drop_oldest and nobody there the ring holds the newest. */
static void script_oldest(void) {
    source s = new_source(SS_RING_MIN, SS_OVERFLOW_DROP_OLDEST, 1);
    plugin *p = new_plugin(0, 10000, 1);
    put_some(&s, 10000);
    const uint64_t held = SS_RING_MIN / (FRAME_LEAST + sizeof(ss_record));
    REQUIRE(ss_ring_lost(s.ring) == 10000 - held, "%llu", (llu)ss_ring_lost(s.ring));
    start(p, s.ring);
    wait_acked(s.ring, 10000);
    finish(&s, p);
    REQUIRE(p->gaps == 1 && p->reasons == SLIPSTREAM_GAP_DROPPED_OLDEST && p->repeats == 0,
            "%llu gaps", (llu)p->gaps);
    free_plugin(p);
    end_source(&s);
}

/* The largest event there is, across the wrap, in place and as a copy. */
static void script_huge(size_t bytes) {
    for (uint32_t overflow = 0; overflow <= SS_OVERFLOW_DROP_OLDEST; overflow++) {
        source s = new_source(bytes, overflow, 1);
        plugin *p = new_plugin(0, 100, 1);
        patience wait = {0};
        start(p, s.ring);
        for (uint64_t i = 1; i <= 4; i++) {
            const size_t len = i == 2 ? SLIPSTREAM_FRAME_MAX / 2 : SLIPSTREAM_FRAME_MAX;
            for (uint8_t *place = NULL; place == NULL;) {
                be_patient(&wait, i, "huge");
                place = ss_ring_reserve(s.ring, len);
                if (place != NULL)
                    write_event(place, len, i);
            }
            ss_ring_commit(s.ring, len, 1);
            ss_ring_wake(s.ring);
            if (overflow == SS_OVERFLOW_DROP_OLDEST)
                wait_acked(s.ring, i);
        }
        finish(&s, p);
        REQUIRE(p->gaps == 0, "%llu gaps", (llu)p->gaps);
        free_plugin(p);
        end_source(&s);
    }
}

static void script(uint64_t seed, uint64_t scale) {
    script_huge(scale > 1 ? SS_RING_MAX : (size_t)128 * 1024 * 1024);
    script_end(SLIPSTREAM_FATAL, SS_CONSUMED_FATAL, 0, 6);
    script_end(SLIPSTREAM_PANIC, SS_CONSUMED_PANIC, SLIPSTREAM_FLAG_EXPLICIT_ACK, 0);
    script_explicit();
    script_retry();
    script_boundary();
    script_late_end();
    script_damage(seed);
    script_poison(0);
    script_poison(SLIPSTREAM_FLAG_BATCH);
    script_skip();
    script_find(seed);
    script_oldest();
    REQUIRE(ss_ring_new(SS_RING_MIN + 4096, false, 0) == NULL && errno == EINVAL, "size");
    REQUIRE(ss_ring_new(SS_RING_MAX * UINT64_C(2), false, 0) == NULL && errno == EINVAL, "size");
    printf("every rule holds\n");
}

/* ---- hostile: nothing that is written into the control area does harm --------------------- */

typedef struct scribbler {
    ss_control *control;
    uint64_t key;
    uint64_t random;
    _Atomic uint64_t honest; /* what was acknowledged truly */
    _Atomic uint32_t stop;
} scribbler;

static void *scribble(void *context) {
    scribbler *self = context;
    _Atomic uint64_t *words = (_Atomic uint64_t *)(void *)self->control;
    const size_t count = sizeof *self->control / sizeof *words;
    while (atomic_load(&self->stop) == 0) {
        uint64_t value = next_random(&self->random);
        const size_t at = below(&self->random, 3) == 0 ? below(&self->random, 6)
                                                        : below(&self->random, count);
        switch (below(&self->random, 5)) {
        case 0:
            value = 0;
            break;
        case 1:
            value = below(&self->random, 100000);
            break;
        case 2:
            value = atomic_load(&words[below(&self->random, count)]);
            break;
        case 3:
            value = UINT64_MAX - below(&self->random, 10);
            break;
        default:
            break;
        }
        atomic_store(&words[at], value);
        if (below(&self->random, 4) == 0)
            ss_tell(&self->control->acked, self->key, SS_PLACE_ACKED, atomic_load(&self->honest));
    }
    return NULL;
}

static void hostile(uint64_t seed, uint64_t scale) {
    for (uint32_t overflow = 0; overflow <= SS_OVERFLOW_DROP_OLDEST; overflow++) {
        source s = new_source(SS_RING_MIN, overflow, seed + overflow);
        ss_ring *ring = s.ring;
        scribbler writer = {.control = ss_ring_get_control(ring),
                            .key = ring->head->key,
                            .random = seed * 4 + 3};
        pthread_t thread;
        uint64_t acked = 0;
        uint64_t insane = 0;
        uint64_t honest = 0;
        REQUIRE(pthread_create(&thread, NULL, scribble, &writer) == 0, "thread");
        const uint64_t end = ss_clock_ns(CLOCK_MONOTONIC) + scale * UINT64_C(500000000);
        while (ss_clock_ns(CLOCK_MONOTONIC) < end) {
            size_t len = pick_len(&s);
            if (!put(&s, pick_count(&s, UINT64_MAX), &len))
                lose(&s, SLIPSTREAM_GAP_DROPPED_NEWEST);
            ss_ring_wake(ring);
            if (below(&s.random, 3) == 0) { /* an honest consumer, now and then */
                honest += below(&s.random, ring->published - honest + 1);
                atomic_store(&writer.honest, honest);
            }
            const uint64_t now = ss_ring_acked(ring);
            insane += !ss_ring_is_sane(ring);
            REQUIRE(now >= acked, "from %llu back to %llu", (llu)acked, (llu)now);
            REQUIRE(now <= honest, "%llu acknowledged, truly %llu", (llu)now, (llu)honest);
            acked = now;
            REQUIRE(ring->at - ring->tail <= ring->bytes, "bounds");
            REQUIRE(overflow == SS_OVERFLOW_DROP_OLDEST || ring->tail_ordinal <= now,
                    "freed %llu, acknowledged %llu", (llu)ring->tail_ordinal, (llu)now);
            size_t found = 0;
            const uint8_t *frame = ss_ring_find(ring, ring->tail_ordinal + 1, &found);
            if (frame != NULL)
                check_event(frame, found, ring->tail_ordinal + 1);
            if (below(&s.random, 500) == 0) {
                ss_ring_prepare_resume(ring);
                REQUIRE(ring->head->replay_until <= ring->published &&
                            ring->head->resume_after >= acked,
                        "resume");
                acked = ring->acked;
            }
        }
        atomic_store(&writer.stop, 1);
        pthread_join(thread, NULL);
        REQUIRE(insane > 0 && acked > 0, "nothing was scribbled: %llu, %llu", (llu)insane,
                (llu)acked);
        printf("overflow %u: %llu events, %llu acknowledged, damage seen %llu times\n", overflow,
               (llu)ring->last, (llu)acked, (llu)insane);
        end_source(&s);
    }
}

int main(int argc, char **argv) {
    const uint64_t seed = argc > 2 ? strtoull(argv[2], NULL, 10) : 1;
    const uint64_t scale = argc > 3 ? strtoull(argv[3], NULL, 10) : 1;
    const char *test = argc > 1 ? argv[1] : "";
    if (strcmp(test, "flow") == 0)
        flow(seed, scale, 0);
    else if (strcmp(test, "crash") == 0)
        flow(seed, scale, 500);
    else if (strcmp(test, "wake") == 0)
        wake(seed, scale);
    else if (strcmp(test, "status") == 0)
        status(seed, scale);
    else if (strcmp(test, "script") == 0)
        script(seed, scale);
    else if (strcmp(test, "hostile") == 0)
        hostile(seed, scale);
    else
        return 2;
    return 0;
}
