/* test_ring: ring and consumer on two threads of one process.
 *
 *   test_ring TEST SEED SCALE     SCALE 1 takes a few seconds, 10 ten times as long */
#include "ring_source.h"

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
        const uint64_t before = ss_os_now_ns();
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
        const uint64_t took = ss_os_now_ns() - before;
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
        ss_log_queue_set_level(p->log, 99);
        s.largest_run = 10;
        p->status = any_status;
        p->on_flush = flaky_flush;
        p->consumer.flush_idle_ms = 5;
        start(p, s.ring);
        produce(&s, p, n, true);
        /* Everything is acknowledged in the end, by idle flushes alone. */
        patience wait = {0};
        while (ss_ring_acked(s.ring) < n)
            be_patient(&wait, ss_ring_acked(s.ring), "ack");
        finish(&s, p);
        REQUIRE(p->refused > 0 && p->refused == p->noted, "%llu refused, %llu noted",
                (llu)p->refused, (llu)p->noted);
        printf("flags %2u: %llu events, %llu failed, %llu flushes\n", flags, (llu)n,
               (llu)p->noted, (llu)p->flushes);
        free_plugin(p);
        end_source(&s);
    }
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
        const uint64_t end = ss_os_now_ns() + scale * UINT64_C(500000000);
        while (ss_os_now_ns() < end) {
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

/* ---- stray: what is written over the words of a consumer that copies out ----------------- */

static void *stray(void *context) {
    scribbler *self = context;
    _Atomic uint64_t *const words[] = {&self->control->claim.value, &self->control->claim.check,
                                       &self->control->taken.value, &self->control->taken.check};
    while (atomic_load(&self->stop) == 0) {
        const uint64_t value = next_random(&self->random);
        atomic_store(words[below(&self->random, 4)], value % 4 == 0   ? 0
                                                     : value % 4 == 1 ? value % 100000
                                                                      : value);
        usleep((useconds_t)below(&self->random, 20));
    }
    return NULL;
}

/* What it gets is whole, and what it is told of is what is counted as lost. */
static void strays(uint64_t seed, uint64_t scale) {
    for (uint64_t pace = 0; pace < 4; pace++) {
        source s = new_source(SS_RING_MIN, SS_OVERFLOW_DROP_OLDEST, seed + pace);
        const uint64_t n = (pace == 0 ? 200000 : 20000) * scale;
        plugin *p = new_plugin(pace % 2 != 0 ? SLIPSTREAM_FLAG_BATCH : 0, n, seed + pace);
        scribbler writer = {.control = ss_ring_get_control(s.ring), .random = seed * 4 + 3};
        pthread_t thread;
        s.pause_every = pace == 1 ? 50 : 300;
        p->slow_every = pace == 2 ? 50 : 0;
        start(p, s.ring);
        REQUIRE(pthread_create(&thread, NULL, stray, &writer) == 0, "thread");
        produce(&s, p, n, true);
        atomic_store(&writer.stop, 1);
        pthread_join(thread, NULL);
        finish(&s, p);
        REQUIRE(s.ring->outcomes.told == ss_ring_lost(s.ring), "%llu told, %llu lost",
                (llu)s.ring->outcomes.told, (llu)ss_ring_lost(s.ring));
        printf("%llu events, %llu lost in %llu gaps\n", (llu)n, (llu)ss_ring_lost(s.ring),
               (llu)p->gaps);
        free_plugin(p);
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
    else if (strcmp(test, "hostile") == 0)
        hostile(seed, scale);
    else if (strcmp(test, "stray") == 0)
        strays(seed, scale);
    else
        return 2;
    return 0;
}
