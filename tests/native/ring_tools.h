/* ring_tools: events that can be told from each other, a plugin that keeps a ledger of what
 * it got, and a thread that runs it; for the tests of rings. */
#ifndef RING_TOOLS_H
#define RING_TOOLS_H

#include "consumer/consume.h"
#include "ring/inner.h"
#include "base/clock.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#define REQUIRE(condition, ...)                                                           \
    do {                                                                                  \
        if (!(condition)) {                                                               \
            fprintf(stderr, "%s:%d: %s does not hold: ", __FILE__, __LINE__, #condition); \
            fprintf(stderr, __VA_ARGS__);                                                 \
            fprintf(stderr, "\n");                                                        \
            fflush(stderr);                                                               \
            abort();                                                                      \
        }                                                                                 \
    } while (0)

typedef unsigned long long llu;

/* xorshift: one for each thread. */
static inline uint64_t next_random(uint64_t *state) {
    uint64_t x = *state;
    x ^= x << 13;
    x ^= x >> 7;
    x ^= x << 17;
    return *state = x;
}
static inline uint64_t below(uint64_t *state, uint64_t n) {
    return (next_random(state) >> 11) % n;
}

/* ---- Events: an application's kind whose payload follows from the ordinal ------------ */

enum { FRAME_LEAST = SLIPSTREAM_FRAME_HEADER_LEN + 16 };

static inline uint64_t word_of(uint64_t ordinal, uint64_t i) {
    const uint64_t x = (ordinal * 0x9E3779B97F4A7C15u) ^ (i * 0xC2B2AE3D27D4EB4Fu);
    return x ^ x >> 29;
}

static inline uint32_t kind_of(uint64_t ordinal) {
    return 32 + (uint32_t)(ordinal % 32);
}

/* `len` is a multiple of 8, at least FRAME_LEAST. */
static inline void write_event(uint8_t *frame, size_t len, uint64_t ordinal) {
    const uint32_t head[] = {(uint32_t)len, 48 | kind_of(ordinal) << 16, 0, (uint32_t)len - 48};
    const uint64_t words[] = {7, ordinal, 1, ordinal * 3};
    memcpy(frame, head, sizeof head);
    memcpy(frame + 16, words, sizeof words);
    memset(frame + 48, 0, 8);
    frame[48] = 8;
    for (size_t at = 56; at < len; at += 8) {
        const uint64_t word = word_of(ordinal, at);
        memcpy(frame + at, &word, sizeof word);
    }
}

static inline size_t check_event(const uint8_t *frame, size_t room, uint64_t ordinal) {
    const size_t len = slipstream_load_u32(frame);
    REQUIRE(len >= FRAME_LEAST && len <= room, "ordinal %llu, len %zu", (llu)ordinal, len);
    REQUIRE(slipstream_load_u64(frame + 24) == ordinal, "ordinal %llu, found %llu", (llu)ordinal,
            (llu)slipstream_load_u64(frame + 24));
    for (size_t at = 56; at < len; at += 8) {
        uint64_t word;
        memcpy(&word, frame + at, sizeof word);
        REQUIRE(word == word_of(ordinal, at), "ordinal %llu, at %zu of %zu", (llu)ordinal, at,
                len);
    }
    return len;
}

/* ---- The plugin and its ledger ------------------------------------------------------- */

enum { TAKEN = 1, IN_GAP = 2, REFUSED = 4, OFFERED = 8 };

typedef struct plugin plugin;
struct plugin {
    slipstream_plugin table;
    ss_host host;
    ss_log_queue *log;
    ss_consumer consumer;
    uint8_t *ledger;       /* by ordinal; may be shared memory */
    uint64_t ordinals;     /* its length */
    uint64_t expected;     /* in this incarnation */
    uint64_t random;
    uint64_t gaps;
    _Atomic uint64_t calls;
    uint64_t repeats;      /* with attempt above 1 */
    uint64_t refused;
    uint64_t flushes;
    uint64_t noted; /* refusals that the host has heard of */
    uint64_t slow_every;   /* one call in so many takes its time; 0: none */
    uint64_t crash_every;
    uint64_t poison;       /* crashes always */
    uint32_t reasons;      /* of all gaps */
    uint32_t shorten_by;
    jmp_buf crash;
    int32_t (*status)(plugin *self, uint64_t ordinal, const slipstream_delivery *delivery);
    void (*die)(plugin *self);
    int32_t (*on_flush)(plugin *self);
    pthread_t thread;
    _Atomic uint32_t ended;
    uint32_t reason;
    bool crashed;
};

static inline void jump_out(plugin *self) {
    longjmp(self->crash, 1);
}

static inline void mark(plugin *self, uint64_t ordinal, uint8_t how, uint32_t attempt) {
    REQUIRE(ordinal < self->ordinals, "%llu", (llu)ordinal);
    uint8_t *entry = &self->ledger[ordinal];
    REQUIRE((*entry & (TAKEN | IN_GAP | REFUSED)) == 0 || attempt > 1,
            "ordinal %llu comes again (%u) as a first attempt", (llu)ordinal, *entry);
    *entry = (uint8_t)(*entry | how);
}

static inline void take_gap(plugin *self, const slipstream_delivery *delivery,
                            const uint8_t *frames, size_t len) {
    slipstream_frame frame;
    slipstream_gap gap;
    REQUIRE(slipstream_read_frame(frames, len, &frame) == SLIPSTREAM_OK, "gap");
    REQUIRE(slipstream_read_gap(&frame, &gap) == SLIPSTREAM_OK, "gap");
    REQUIRE(gap.first == self->expected, "gap from %llu, expected %llu", (llu)gap.first,
            (llu)self->expected);
    REQUIRE(gap.last == delivery->first_ordinal && gap.count == gap.last - gap.first + 1,
            "gap %llu to %llu, count %llu", (llu)gap.first, (llu)gap.last, (llu)gap.count);
    REQUIRE(gap.reasons != 0, "gap %llu to %llu", (llu)gap.first, (llu)gap.last);
    REQUIRE(gap.first_height <= gap.first * 3 && gap.last_height == gap.last * 3,
            "gap %llu to %llu: heights %llu and %llu", (llu)gap.first, (llu)gap.last,
            (llu)gap.first_height, (llu)gap.last_height);
    for (uint64_t ordinal = gap.first; ordinal <= gap.last; ordinal++) {
        REQUIRE((gap.kinds >> kind_of(ordinal) & 1) != 0, "kind of %llu", (llu)ordinal);
        mark(self, ordinal, IN_GAP, delivery->attempt);
    }
    self->reasons |= gap.reasons;
    self->gaps++;
    self->expected = gap.last + 1;
}

static inline int32_t SLIPSTREAM_CALL on_broadcast(void *instance,
                                                   const slipstream_delivery *delivery,
                                                   const uint8_t *frames, size_t len) {
    plugin *self = instance;
    const uint64_t first = delivery->first_ordinal;
    const uint64_t last = first + delivery->count - 1;
    self->calls++;
    self->repeats += delivery->attempt > 1;
    if (self->slow_every != 0 && below(&self->random, self->slow_every) == 0)
        usleep((useconds_t)below(&self->random, 300));
    if (self->crash_every != 0 && below(&self->random, self->crash_every) == 0)
        self->die(self);
    if (slipstream_load_u16(frames + 6) == SLIPSTREAM_KIND_GAP) {
        REQUIRE(delivery->count == 1, "a gap in a run");
        if (self->poison != 0 && first == self->poison)
            self->die(self);
        if (first + 1 == self->expected) /* the same again */
            return SLIPSTREAM_OK;
        take_gap(self, delivery, frames, len);
        return self->status != NULL ? self->status(self, first, delivery) : SLIPSTREAM_OK;
    }
    REQUIRE(first == self->expected ||
                (delivery->attempt > 1 && first < self->expected && delivery->count == 1),
            "got %llu, expected %llu, attempt %u", (llu)first, (llu)self->expected,
            delivery->attempt);
    size_t at = 0;
    for (uint64_t ordinal = first; ordinal <= last; ordinal++)
        at += check_event(frames + at, len - at, ordinal);
    REQUIRE(at == len, "a run of %zu bytes has frames of %zu", len, at);
    for (uint64_t ordinal = first; ordinal <= last; ordinal++) {
        self->ledger[ordinal] |= OFFERED;
        if (self->poison != 0 && ordinal == self->poison)
            self->die(self);
    }
    const int32_t status = self->status != NULL ? self->status(self, last, delivery) : 0;
    /* They stay where they are until we return, whatever was acknowledged. */
    at = 0;
    for (uint64_t ordinal = first; self->status != NULL && ordinal <= last; ordinal++)
        at += check_event(frames + at, len - at, ordinal);
    if (status == SLIPSTREAM_OK || status == SLIPSTREAM_IGNORED) {
        for (uint64_t ordinal = first; ordinal <= last; ordinal++)
            mark(self, ordinal, TAKEN, delivery->attempt);
        if (self->expected <= last)
            self->expected = last + 1;
    } else if (delivery->count == 1 && status == SLIPSTREAM_FAILED) {
        mark(self, first, REFUSED, delivery->attempt);
        self->refused++;
        self->expected = first + 1;
    }
    return status;
}

static inline int32_t SLIPSTREAM_CALL flush_plugin(void *instance, uint32_t timeout_ms) {
    plugin *self = instance;
    (void)timeout_ms;
    self->flushes++;
    return self->on_flush == NULL ? SLIPSTREAM_OK : self->on_flush(self);
}

static inline void *shared_zeros(size_t len) {
    void *p = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    REQUIRE(p != MAP_FAILED, "%zu", len);
    return p;
}

/* A host that writes down at once what is refused, and says so. */
static inline void note_refused(void *context, const ss_letter *letter, uint32_t number) {
    plugin *self = context;
    ss_ring_head *head = (ss_ring_head *)(uintptr_t)self->consumer.view.head;
    uint64_t acked;
    REQUIRE(check_event(letter->frame, letter->len, letter->ordinal) == letter->len, "%zu",
            letter->len);
    REQUIRE(ss_hear(&self->consumer.view.control->acked, head->key, SS_PLACE_ACKED, &acked) &&
                acked < letter->ordinal,
            "acknowledged before it was written down");
    self->noted++;
    REQUIRE(atomic_fetch_add_explicit(&head->kept, 1, memory_order_release) + 1 == number, "%u",
            number);
}

static inline plugin *new_plugin(uint32_t flags, uint64_t ordinals, uint64_t seed) {
    plugin *self = shared_zeros(sizeof *self);
    self->ledger = shared_zeros(ordinals + 1);
    self->ordinals = ordinals + 1;
    self->random = seed * 2 + 1;
    self->die = jump_out;
    self->log = ss_log_queue_new(128 * 1024);
    REQUIRE(self->log != NULL && ss_host_init(&self->host, self->log, 1, NULL), "memory");
    atomic_store(&self->host.life, SS_LOADED);
    atomic_store(&self->host.explicit_ack, (flags & SLIPSTREAM_FLAG_EXPLICIT_ACK) != 0);
    self->table = (slipstream_plugin){.struct_size = sizeof self->table,
                                      .flags = flags,
                                      .instance = self,
                                      .name = "test",
                                      .version = "1",
                                      .on_broadcast = on_broadcast,
                                      .flush = flush_plugin};
    self->consumer.table = &self->table;
    self->consumer.host = &self->host;
    self->consumer.kinds = ~UINT64_C(0);
    self->consumer.refused = note_refused;
    self->consumer.context = self;
    self->consumer.flush_timeout_ms = 1000;
    self->consumer.retry = (ss_retry_bounds){1, 2, 0};
    return self;
}

static inline void free_plugin(plugin *self) {
    ss_host_free(&self->host);
    ss_log_queue_release(self->log);
    munmap(self->ledger, self->ordinals);
    munmap(self, sizeof *self);
}

/* ---- Running it ---------------------------------------------------------------------- */

static inline void *consumer_thread(void *context) {
    plugin *self = context;
    if (setjmp(self->crash) == 0)
        self->reason = ss_consume(&self->consumer);
    else
        self->crashed = true;
    atomic_store(&self->ended, 1);
    return NULL;
}

static inline void prepare(plugin *self, ss_ring *ring) {
    ss_ring_prepare_resume(ring);
    self->consumer.view = ss_ring_view(ring);
    self->expected = ring->head->resume_after + 1;
    self->crashed = false;
    atomic_store(&self->ended, 0);
}

static inline void start(plugin *self, ss_ring *ring) {
    prepare(self, ring);
    REQUIRE(pthread_create(&self->thread, NULL, consumer_thread, self) == 0, "thread");
}

static inline void join(plugin *self) {
    struct timespec end;
    clock_gettime(CLOCK_REALTIME, &end);
    end.tv_sec += 20;
    REQUIRE(pthread_timedjoin_np(self->thread, NULL, &end) == 0, "the consumer does not end");
}

static inline void order_stop(ss_ring *ring) {
    atomic_store(&ring->head->boundary, ring->last);
    atomic_store(&ring->head->stop_wanted, 1);
    ss_ring_wake(ring);
}

/* Fails if the same wait lasts for four minutes. */
typedef struct patience {
    uint64_t since;
    uint64_t seen;
} patience;
static inline void be_patient(patience *p, uint64_t progress, const char *what) {
    const uint64_t now = ss_os_now_ns();
    if (p->since == 0 || progress != p->seen)
        *p = (patience){now, progress};
    REQUIRE(now - p->since < UINT64_C(240000000000), "%s: stuck at %llu", what, (llu)progress);
}

#endif
