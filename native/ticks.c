#include "ticks.h"

#include <pthread.h>
#include <stdatomic.h>
#if defined(__x86_64__)
#include <cpuid.h>
#endif

enum { ENOUGH_NS = 1000000 }; /* after a millisecond the rate is known to a thousandth */

bool ss_ticks_are_even;
static uint64_t first_ticks;
static uint64_t first_ns;
static _Atomic uint64_t rate; /* nanoseconds a tick, times 2^32; 0 is not yet known */
static pthread_once_t once = PTHREAD_ONCE_INIT;

static void start(void) {
#if defined(__x86_64__)
    unsigned a;
    unsigned b;
    unsigned c;
    unsigned d;
    /* "Invariant TSC": the same rate in every power state. */
    ss_ticks_are_even = __get_cpuid(0x80000007, &a, &b, &c, &d) != 0 && (d >> 8 & 1) != 0;
#elif defined(__aarch64__)
    ss_ticks_are_even = true; /* by the architecture */
#endif
    first_ns = ss_clock_ns(CLOCK_MONOTONIC);
    first_ticks = ss_ticks();
    if (!ss_ticks_are_even)
        rate = UINT64_C(1) << 32;
}

void ss_ticks_start(void) {
    pthread_once(&once, start);
}

uint64_t ss_ticks_to_ns(uint64_t ticks) {
    uint64_t known = atomic_load_explicit(&rate, memory_order_relaxed);
    if (known == 0) {
        const uint64_t ns = ss_clock_ns(CLOCK_MONOTONIC) - first_ns;
        const uint64_t passed = ss_ticks() - first_ticks;
        known = passed == 0 ? 1 : (uint64_t)((double)ns / (double)passed * 4294967296.0);
        if (ns >= ENOUGH_NS)
            atomic_store_explicit(&rate, known, memory_order_relaxed);
    }
    /* In two halves: the product would not fit into 64 bits. */
    return (ticks >> 32) * known + ((ticks & 0xFFFFFFFF) * known >> 32);
}
