/* bench_ring: what an event costs on its way through a ring. Prints the median and the best
 * of several rings, since some are slow for their whole life. */
#include "ring_tools.h"

enum { RINGS = 7, LEN = 128, RUN = 1000, BYTES = 16 * 1024 * 1024 };

static int32_t SLIPSTREAM_CALL take(void *instance, const slipstream_delivery *delivery,
                                    const uint8_t *frames, size_t len) {
    uint64_t *sum = instance;
    (void)delivery;
    *sum += frames[16] + len;
    return SLIPSTREAM_OK;
}

static int compare(const void *a, const void *b) {
    const double x = *(const double *)a;
    const double y = *(const double *)b;
    return (x > y) - (x < y);
}

static void report(const char *what, double *ns) {
    qsort(ns, RINGS, sizeof *ns, compare);
    printf("%-52s %8.1f ns, best %.1f\n", what, ns[RINGS / 2], ns[0]);
}

static double since(uint64_t start, uint64_t events) {
    return (double)(ss_os_now_ns() - start) / (double)events;
}

/* The producer alone, filling an empty ring. */
static double fill(const uint8_t *run, uint32_t count) {
    ss_ring *ring = ss_ring_new(BYTES, false, SS_OVERFLOW_BLOCK);
    double best = 1e9;
    for (int lap = 0; lap < 3; lap++) {
        const uint64_t start = ss_os_now_ns();
        const uint64_t before = ring->last;
        while (ss_ring_put(ring, run, (size_t)count * LEN, count))
            ss_ring_wake(ring);
        const double ns = since(start, ring->last - before);
        best = ns < best ? ns : best;
        ss_tell(&ring->control->acked, ring->head->key, SS_PLACE_ACKED, ring->last);
    }
    ss_ring_free(ring);
    return best;
}

/* The consumer alone, emptying a full ring. */
static double drain(const uint8_t *run, uint32_t count, uint32_t flags) {
    ss_ring *ring = ss_ring_new(BYTES, false, SS_OVERFLOW_BLOCK);
    plugin *p = new_plugin(flags, 1, 1);
    uint64_t sum = 0;
    p->table.on_broadcast = take;
    p->table.instance = &sum;
    while (ss_ring_put(ring, run, (size_t)count * LEN, count)) {
    }
    order_stop(ring);
    prepare(p, ring);
    const uint64_t begin = ss_os_now_ns();
    ss_consume(&p->consumer);
    const double ns = since(begin, ring->last);
    free_plugin(p);
    ss_ring_free(ring);
    return ns;
}

/* Through the ring to a plugin on another thread. */
static double through(const uint8_t *run, uint32_t count, uint32_t flags, uint32_t overflow,
                      uint64_t events) {
    ss_ring *ring = ss_ring_new(BYTES, false, overflow);
    plugin *p = new_plugin(flags, 1, 1);
    uint64_t sum = 0;
    p->table.on_broadcast = take;
    p->table.instance = &sum;
    start(p, ring);
    const uint64_t begin = ss_os_now_ns();
    while (ring->last < events) {
        if (!ss_ring_put(ring, run, (size_t)count * LEN, count)) {
            if (overflow == SS_OVERFLOW_BLOCK)
                sched_yield();
            else
                ss_ring_lose(ring, run, SLIPSTREAM_GAP_DROPPED_OLDEST);
        }
        ss_ring_wake(ring);
    }
    while (!ss_ring_tell_lost(ring))
        sched_yield();
    while (ss_ring_acked(ring) < ring->last)
        sched_yield();
    const double ns = since(begin, events);
    order_stop(ring);
    join(p);
    free_plugin(p);
    ss_ring_free(ring);
    return ns;
}

static _Atomic uint64_t arrived;
static int32_t SLIPSTREAM_CALL note_arrival(void *instance, const slipstream_delivery *delivery,
                                            const uint8_t *frames, size_t len) {
    (void)instance;
    (void)delivery;
    (void)frames;
    (void)len;
    atomic_store(&arrived, ss_os_now_ns());
    return SLIPSTREAM_OK;
}

/* From the put to the call, for a consumer that sleeps. */
static void wake_latency(const uint8_t *frame) {
    enum { TIMES = 2000 };
    static double ns[TIMES];
    ss_ring *ring = ss_ring_new(SS_RING_MIN, false, SS_OVERFLOW_BLOCK);
    plugin *p = new_plugin(0, 1, 1);
    p->table.on_broadcast = note_arrival;
    start(p, ring);
    for (int i = 0; i < TIMES; i++) {
        while (atomic_load(&ring->control->sleeping) == 0)
            usleep(10);
        usleep(50);
        const uint64_t begin = ss_os_now_ns();
        ss_ring_put(ring, frame, LEN, 1);
        ss_ring_wake(ring);
        while (ss_ring_acked(ring) < ring->last) {
        }
        ns[i] = (double)(atomic_load(&arrived) - begin);
    }
    qsort(ns, TIMES, sizeof ns[0], compare);
    printf("%-52s %8.1f us median, %.1f at 99 %%\n", "wake of a sleeping consumer",
           ns[TIMES / 2] / 1e3, ns[TIMES * 99 / 100] / 1e3);
    order_stop(ring);
    join(p);
    free_plugin(p);
    ss_ring_free(ring);
}

int main(void) {
    static uint8_t run[RUN * LEN];
    double ns[RINGS];
    for (uint32_t i = 0; i < RUN; i++)
        write_event(run + (size_t)i * LEN, LEN, i + 1);
    ss_ticks_start();
#define MEASURE(what, expression)                                                         \
    do {                                                                                  \
        for (int i = 0; i < RINGS; i++)                                                   \
            ns[i] = (expression);                                                         \
        report(what, ns);                                                                 \
    } while (0)
    MEASURE("put alone, runs of 1,000", fill(run, RUN));
    MEASURE("put alone, one by one, with wake", fill(run, 1));
    MEASURE("deliver alone, in runs", drain(run, RUN, SLIPSTREAM_FLAG_BATCH));
    MEASURE("deliver alone, one by one", drain(run, RUN, 0));
    MEASURE("put in runs of 1,000, delivered in runs",
            through(run, RUN, SLIPSTREAM_FLAG_BATCH, SS_OVERFLOW_BLOCK, 20000000));
    MEASURE("put in runs of 1,000, delivered one by one",
            through(run, RUN, 0, SS_OVERFLOW_BLOCK, 10000000));
    MEASURE("put and delivered one by one", through(run, 1, 0, SS_OVERFLOW_BLOCK, 10000000));
    MEASURE("drop_oldest, put one by one, delivered in runs",
            through(run, 1, SLIPSTREAM_FLAG_BATCH, SS_OVERFLOW_DROP_OLDEST, 10000000));
    wake_latency(run);
    return 0;
}
