#include "base/clock.h"

#include <pthread.h>
#if defined(__x86_64__)
#include <cpuid.h>
#endif

enum { ENOUGH_NS = 1000000 }; /* after a millisecond the rate is known to a thousandth */

bool ss_ticks_are_even;
static uint64_t first_ticks;
static uint64_t first_ns;
_Atomic uint64_t ss_ticks_rate;
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
        ss_ticks_rate = UINT64_C(1) << 32;
}

void ss_ticks_start(void) {
    pthread_once(&once, start);
}

uint64_t ss_ticks_first_rate(void) {
    const uint64_t ns = ss_clock_ns(CLOCK_MONOTONIC) - first_ns;
    const uint64_t passed = ss_ticks() - first_ticks;
    const uint64_t rate =
        passed == 0 ? 1 : (uint64_t)((double)ns / (double)passed * 4294967296.0);
    if (ns >= ENOUGH_NS)
        atomic_store_explicit(&ss_ticks_rate, rate, memory_order_relaxed);
    return rate;
}

void ss_wall_read(ss_wall *wall) {
    const uint64_t rate = atomic_load_explicit(&ss_ticks_rate, memory_order_relaxed);
    wall->ticks = ss_ticks();
    wall->ns = ss_clock_ns(CLOCK_REALTIME);
    /* Until the rate is known well, every time is the clock's own. */
    wall->limit = rate == 0 || !ss_ticks_are_even ? 0 : (UINT64_C(4000000) << 32) / rate;
    if (rate == 0)
        ss_ticks_first_rate();
}
