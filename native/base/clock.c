#include "base/clock.h"

enum { ENOUGH_NS = 1000000 }; /* after a millisecond the rate is known to a thousandth */

bool ss_ticks_are_even;
static uint64_t first_ticks;
static uint64_t first_ns;
_Atomic uint64_t ss_ticks_rate;

static void start(void) {
    ss_ticks_are_even = ss_cpu_has_ticks();
    first_ns = ss_os_now_ns();
    first_ticks = ss_ticks();
    if (!ss_ticks_are_even)
        ss_ticks_rate = UINT64_C(1) << 32;
}

void ss_ticks_start(void) {
    static ss_os_once once = SS_OS_ONCE;
    ss_os_call_once(&once, start);
}

uint64_t ss_ticks_first_rate(void) {
    const uint64_t ns = ss_os_now_ns() - first_ns;
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
    wall->ns = ss_os_wall_ns();
    /* Until the rate is known well, every time is the clock's own. */
    wall->limit = rate == 0 || !ss_ticks_are_even ? 0 : (UINT64_C(4000000) << 32) / rate;
    if (rate == 0)
        ss_ticks_first_rate();
}
