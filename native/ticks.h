/* ticks: the processor's own counter, for timing callbacks. Reading it costs less than
 * half of a clock. Where it does not run evenly, the monotonic clock stands in. */
#ifndef SS_TICKS_H
#define SS_TICKS_H

#include <stdbool.h>
#include <stdint.h>
#include <time.h>
#if defined(__x86_64__)
#include <x86intrin.h>
#endif

extern bool ss_ticks_are_even; /* set by ss_ticks_start */

/* Begins to compare the counter with the clock. Call it early, more than once if you like. */
void ss_ticks_start(void);

/* Nanoseconds that so many ticks take. */
uint64_t ss_ticks_to_ns(uint64_t ticks);

static inline uint64_t ss_clock_ns(clockid_t clock) {
    struct timespec now;
    clock_gettime(clock, &now);
    return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

static inline uint64_t ss_ticks(void) {
#if defined(__x86_64__)
    if (ss_ticks_are_even)
        return __rdtsc();
#elif defined(__aarch64__)
    uint64_t count;
    if (ss_ticks_are_even) {
        __asm__ volatile("mrs %0, cntvct_el0" : "=r"(count));
        return count;
    }
#endif
    return ss_clock_ns(CLOCK_MONOTONIC);
}

#endif
