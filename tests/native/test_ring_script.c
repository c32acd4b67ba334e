/* test_ring_script: single rules of ring and consumer, one after the other.
 *
 *   test_ring_script TEST SEED SCALE     the only TEST is script; SCALE 1 takes a few seconds */
#include "ring_source.h"

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
    ss_log_queue_set_level(p->log, 99);
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

static int32_t once(plugin *self, uint64_t ordinal, const slipstream_delivery *delivery) {
    return delivery->attempt == 1 ? scripted(self, ordinal, delivery) : SLIPSTREAM_OK;
}

/* Events that were published together come one by one to a plugin that takes no runs, each with its
 * attempt, and is counted, whatever the plugin answers to one of them. */
static void script_together(int32_t answer, uint64_t repeats, uint64_t refused) {
    source s = new_source(SS_RING_MIN, SS_OVERFLOW_BLOCK, 1);
    plugin *p = new_plugin(0, 100, 1);
    ss_control *control = s.ring->control;
    size_t len = FRAME_LEAST;
    uint64_t counted = 0;
    ss_log_queue_set_level(p->log, 99);
    p->status = once;
    script_at = 21;
    script_status = answer;
    start(p, s.ring);
    put_some(&s, 1);
    wait_acked(s.ring, 1);
    REQUIRE(put(&s, 40, &len), "room");
    ss_ring_wake(s.ring);
    wait_acked(s.ring, 41);
    order_stop(s.ring);
    wait_ended(p, SS_CONSUMED_BOUNDARY);
    REQUIRE(p->calls == 41 + repeats, "%llu calls", (llu)p->calls);
    REQUIRE(p->repeats == repeats && p->noted == refused && p->refused == refused,
            "%llu repeats, %llu refused", (llu)p->repeats, (llu)p->noted);
    for (unsigned i = 0; i < SS_TIME_BUCKETS; i++)
        counted += atomic_load(&control->buckets[i]);
    REQUIRE(counted == p->calls && atomic_load(&control->calls) == p->calls, "%llu timed",
            (llu)counted);
    free_plugin(p);
    end_source(&s);
}

/* EXPLICIT_ACK: what failed acknowledges nothing before it, but itself. */
static void script_explicit(void) {
    source s = new_source(SS_RING_MIN, SS_OVERFLOW_BLOCK, 1);
    plugin *p = new_plugin(SLIPSTREAM_FLAG_EXPLICIT_ACK, 10000, 1);
    ss_log_queue_set_level(p->log, 99);
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
    p->consumer.retry = (ss_retry_bounds){60000, 60000, 0};
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
        ss_log_queue_set_level(p->log, 99);
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
    const uint64_t acked = s.ring->last - 1;
    ss_tell(&s.ring->control->acked, s.ring->head->key, SS_PLACE_ACKED, acked);
    REQUIRE(ss_ring_find(s.ring, acked, &found) == NULL, "found although it is acknowledged");
    ss_tell(&s.ring->control->acked, s.ring->head->key, SS_PLACE_ACKED, s.ring->published);
    REQUIRE(ss_ring_used(s.ring) == 0, "%zu bytes in use", ss_ring_used(s.ring));
    REQUIRE(s.ring->head->tail_ordinal == s.ring->published, "what is gone is not told");
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

/* What was dropped stands in one GAP; if that crashes the consumer, too, it is not told. */
static void script_oldest_poison(void) {
    source s = new_source(SS_RING_MIN, SS_OVERFLOW_DROP_OLDEST, 1);
    plugin *p = new_plugin(0, 10000, 1);
    slipstream_frame view;
    slipstream_gap gap;
    uint8_t *copy = NULL;
    put_some(&s, 10000);
    const uint64_t dropped = ss_ring_lost(s.ring);
    const size_t len = ss_ring_skip(s.ring, dropped, SLIPSTREAM_GAP_DEAD_LETTER, &copy);
    REQUIRE(slipstream_read_frame(copy, len, &view) == SLIPSTREAM_OK &&
                slipstream_read_gap(&view, &gap) == SLIPSTREAM_OK,
            "%zu", len);
    REQUIRE(gap.first == 1 && gap.last == dropped && ss_ring_lost(s.ring) == dropped,
            "%llu to %llu", (llu)gap.first, (llu)gap.last);
    free(copy);
    prepare(p, s.ring);
    p->expected = dropped + 1; /* nothing tells it of what is missing */
    REQUIRE(pthread_create(&p->thread, NULL, consumer_thread, p) == 0, "thread");
    wait_acked(s.ring, 10000);
    for (uint64_t i = 1; i <= dropped; i++)
        p->ledger[i] |= IN_GAP; /* in the one above */
    finish(&s, p);
    REQUIRE(p->gaps == 0, "%llu gaps", (llu)p->gaps);
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
    script_together(SLIPSTREAM_OK, 0, 0);
    script_together(SLIPSTREAM_IGNORED, 0, 0);
    script_together(SLIPSTREAM_FAILED, 0, 1);
    script_together(SLIPSTREAM_RETRY, 1, 0);
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
    script_oldest_poison();
    REQUIRE(ss_ring_new(SS_RING_MIN + 4096, false, 0) == NULL && errno == EINVAL, "size");
    REQUIRE(ss_ring_new(SS_RING_MAX * UINT64_C(2), false, 0) == NULL && errno == EINVAL, "size");
    printf("every rule holds\n");
}

int main(int argc, char **argv) {
    const uint64_t seed = argc > 2 ? strtoull(argv[2], NULL, 10) : 1;
    const uint64_t scale = argc > 3 ? strtoull(argv[3], NULL, 10) : 1;
    if (argc < 2 || strcmp(argv[1], "script") != 0)
        return 2;
    script(seed, scale);
    return 0;
}
