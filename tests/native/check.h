/* check: what the native tests share: a check that ends the process, and random numbers. */
#ifndef CHECK_H
#define CHECK_H

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#define REQUIRE(condition)                                                                \
    do {                                                                                  \
        if (!(condition)) {                                                               \
            fprintf(stderr, "%s:%d: %s does not hold\n", __FILE__, __LINE__, #condition); \
            abort();                                                                      \
        }                                                                                 \
    } while (0)

/* xorshift64*: the same numbers on every machine. */
static uint64_t random_state = 0x9E3779B97F4A7C15;

static inline uint64_t random_u64(void) {
    random_state ^= random_state >> 12;
    random_state ^= random_state << 25;
    random_state ^= random_state >> 27;
    return random_state * 0x2545F4914F6CDD1D;
}

static inline size_t random_below(size_t limit) {
    return limit == 0 ? 0 : (size_t)(random_u64() % limit);
}

#endif
