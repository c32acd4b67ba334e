/* cpu: what belongs to the processor, whatever the system. */
#ifndef SS_CPU_H
#define SS_CPU_H

#include <stdbool.h>
#include <stdint.h>
#if defined(__x86_64__)
#include <cpuid.h>
#include <x86intrin.h>
#endif

/* Does the processor have a counter that runs evenly, in every power state? */
static inline bool ss_cpu_has_ticks(void) {
#if defined(__x86_64__)
    unsigned a;
    unsigned b;
    unsigned c;
    unsigned d;
    return __get_cpuid(0x80000007, &a, &b, &c, &d) != 0 && (d >> 8 & 1) != 0; /* invariant TSC */
#elif defined(__aarch64__)
    return true; /* by the architecture */
#else
    return false;
#endif
}

static inline uint64_t ss_cpu_ticks(void) {
#if defined(__x86_64__)
    return __rdtsc();
#elif defined(__aarch64__)
    uint64_t count;
    __asm__ volatile("mrs %0, cntvct_el0" : "=r"(count));
    return count;
#else
    return 0;
#endif
}

/* Tells the processor that this is a loop that looks for something again and again. */
static inline void ss_cpu_pause(void) {
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

/* A word from or for little-endian bytes, as frames have them. */
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
#define SS_CPU_LE16(word) (word)
#define SS_CPU_LE32(word) (word)
#define SS_CPU_LE64(word) (word)
#else
#define SS_CPU_LE16(word) __builtin_bswap16(word)
#define SS_CPU_LE32(word) __builtin_bswap32(word)
#define SS_CPU_LE64(word) __builtin_bswap64(word)
#endif

#endif
