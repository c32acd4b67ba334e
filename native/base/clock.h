/* clock: ticks, the processor's own counter, for timing callbacks; reading it costs less than
 * half of a clock. Where it does not run evenly, the monotonic clock stands in. */
#ifndef SS_CLOCK_H
#define SS_CLOCK_H

#include "platform/platform.h"

extern bool ss_ticks_are_even; /* set by ss_ticks_start */

/* Begins to compare the counter with the clock. Call it early, more than once if you like. */
void ss_ticks_start(void);

/* Nanoseconds a tick, times 2^32; 0 while it is not yet known well. */
extern _Atomic uint64_t ss_ticks_rate;
uint64_t ss_ticks_first_rate(void);

/* Nanoseconds that so many ticks take. */
static inline uint64_t ss_ticks_to_ns(uint64_t ticks) {
    uint64_t rate = atomic_load_explicit(&ss_ticks_rate, memory_order_relaxed);
    if (rate == 0)
        rate = ss_ticks_first_rate();
    /* In two halves: the product would not fit into 64 bits. */
    return (ticks >> 32) * rate + ((ticks & 0xFFFFFFFF) * rate >> 32);
}

static inline uint64_t ss_ticks(void) {
    return ss_ticks_are_even ? ss_cpu_ticks() : ss_os_now_ns();
}

/* The time of day for one thread at a time: the clock, read anew every few milliseconds,
 * and ticks in between. */
typedef struct ss_wall {
    uint64_t ticks;
    uint64_t ns;
    uint64_t limit; /* ticks after which the clock is read again */
} ss_wall;

void ss_wall_read(ss_wall *wall);

static inline int64_t ss_wall_now(ss_wall *wall) {
    const uint64_t passed = ss_ticks() - wall->ticks;
    if (passed < wall->limit)
        return (int64_t)(wall->ns + ss_ticks_to_ns(passed));
    ss_wall_read(wall);
    return (int64_t)wall->ns;
}

#endif
