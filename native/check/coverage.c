/* What a compiler calls in a library that was built with -fsanitize-coverage: edges that were
 * taken, and numbers that were compared. Clang's forms (inline-8bit-counters, trace-pc-guard,
 * trace-cmp) and gcc's (trace-pc, trace-cmp). Threads race here, and nothing depends on it. */
#include "check/coverage.h"

#include <stdlib.h>
#include <string.h>

#define EVERYBODYS __attribute__((visibility("default")))

enum {
    EDGES = 65536,
    REGIONS = 64,
    NUMBERS = 512,
};

typedef struct region {
    uint8_t *counters;
    uint8_t *seen;
    size_t len;
} region;

static uint8_t edges[EDGES]; /* of guards, and of program counters */
static uint8_t seen_edges[EDGES];
static uint32_t guards;
static _Atomic uint32_t has_pcs;
static region regions[REGIONS];
static uint32_t region_count;
static uint64_t numbers[NUMBERS];
static bool is_watched;

/* ---- What the compiler calls ------------------------------------------------------------------ */

EVERYBODYS void __sanitizer_cov_8bit_counters_init(uint8_t *start, uint8_t *stop);
EVERYBODYS void __sanitizer_cov_bool_flag_init(bool *start, bool *stop);
EVERYBODYS void __sanitizer_cov_pcs_init(const uintptr_t *start, const uintptr_t *stop);
EVERYBODYS void __sanitizer_cov_trace_pc_guard_init(uint32_t *start, uint32_t *stop);
EVERYBODYS void __sanitizer_cov_trace_pc_guard(uint32_t *guard);
EVERYBODYS void __sanitizer_cov_trace_pc(void);
EVERYBODYS void __sanitizer_cov_trace_pc_indir(uintptr_t callee);
EVERYBODYS void __sanitizer_cov_trace_switch(uint64_t value, void *cases);
EVERYBODYS void __sanitizer_cov_trace_div4(uint32_t value);
EVERYBODYS void __sanitizer_cov_trace_div8(uint64_t value);
EVERYBODYS void __sanitizer_cov_trace_gep(uintptr_t index);
EVERYBODYS void __sanitizer_cov_trace_cmpf(float a, float b);
EVERYBODYS void __sanitizer_cov_trace_cmpd(double a, double b);

void __sanitizer_cov_8bit_counters_init(uint8_t *start, uint8_t *stop) {
    for (uint32_t i = 0; i < region_count; i++)
        if (regions[i].counters == start)
            return;
    const size_t len = (size_t)(stop - start);
    if (region_count == REGIONS || len == 0)
        return;
    uint8_t *seen = calloc(len, 1);
    if (seen != NULL)
        regions[region_count++] = (region){start, seen, len};
}

void __sanitizer_cov_trace_pc_guard_init(uint32_t *start, uint32_t *stop) {
    if (start == stop || *start != 0)
        return;
    for (uint32_t *guard = start; guard < stop; guard++)
        *guard = ++guards;
}

void __sanitizer_cov_trace_pc_guard(uint32_t *guard) {
    edges[*guard % EDGES]++;
}

void __sanitizer_cov_trace_pc(void) {
    const uintptr_t pc = (uintptr_t)__builtin_return_address(0);
    has_pcs = 1;
    edges[(pc ^ pc >> 16) % EDGES]++;
}

static void compared(uint64_t number) {
    if (is_watched)
        numbers[(number * UINT64_C(0x9E3779B97F4A7C15)) >> 55] = number;
}

/* How many cases there are, how wide they are, and then they; gcc has it with a void pointer. */
void __sanitizer_cov_trace_switch(uint64_t value, void *cases) {
    const uint64_t *words = cases;
    (void)value;
    for (uint64_t i = 0; i < words[0] && i < NUMBERS; i++)
        compared(words[2 + i]);
}

/* The constant is the first; without one both may be what is looked for. */
#define COMPARES(type, bytes)                                                                      \
    EVERYBODYS void __sanitizer_cov_trace_cmp##bytes(type a, type b);                              \
    EVERYBODYS void __sanitizer_cov_trace_const_cmp##bytes(type a, type b);                        \
    void __sanitizer_cov_trace_cmp##bytes(type a, type b) {                                        \
        compared(a);                                                                               \
        compared(b);                                                                               \
    }                                                                                              \
    void __sanitizer_cov_trace_const_cmp##bytes(type a, type b) {                                  \
        (void)b;                                                                                   \
        compared(a);                                                                               \
    }
COMPARES(uint8_t, 1)
COMPARES(uint16_t, 2)
COMPARES(uint32_t, 4)
COMPARES(uint64_t, 8)

/* Asked for by some builds, and of no use here. */
void __sanitizer_cov_bool_flag_init(bool *start, bool *stop) {
    (void)start, (void)stop;
}
void __sanitizer_cov_pcs_init(const uintptr_t *start, const uintptr_t *stop) {
    (void)start, (void)stop;
}
void __sanitizer_cov_trace_pc_indir(uintptr_t callee) {
    (void)callee;
}
void __sanitizer_cov_trace_div4(uint32_t value) {
    (void)value;
}
void __sanitizer_cov_trace_div8(uint64_t value) {
    (void)value;
}
void __sanitizer_cov_trace_gep(uintptr_t index) {
    (void)index;
}
void __sanitizer_cov_trace_cmpf(float a, float b) {
    (void)a, (void)b;
}
void __sanitizer_cov_trace_cmpd(double a, double b) {
    (void)a, (void)b;
}

/* ---- What the fuzzer asks --------------------------------------------------------------------- */

bool ss_coverage_is_there(void) {
    return guards != 0 || region_count != 0 || has_pcs != 0;
}

/* How often an edge was taken, as one bit: 1, 2, 3, 4 to 7, 8 to 15, ... */
static uint8_t bucket(uint8_t count) {
    static const uint8_t few[] = {0, 1, 2, 4, 8, 8, 8, 8};
    return count < 8 ? few[count] : count < 16 ? 16 : count < 32 ? 32 : count < 128 ? 64 : 128;
}

static uint32_t fold(uint8_t *counters, uint8_t *seen, size_t len) {
    uint32_t fresh = 0;
    for (size_t i = 0; i < len; i++) {
        uint64_t eight;
        if (len - i >= sizeof eight && (memcpy(&eight, counters + i, sizeof eight), eight == 0)) {
            i += sizeof eight - 1;
            continue;
        }
        const uint8_t bit = bucket(counters[i]);
        counters[i] = 0;
        fresh += (bit & ~seen[i]) != 0;
        seen[i] |= bit;
    }
    return fresh;
}

uint32_t ss_coverage_fold(void) {
    uint32_t fresh = 0;
    if (guards != 0 || has_pcs != 0)
        fresh += fold(edges, seen_edges, has_pcs != 0 || guards >= EDGES ? EDGES : guards + 1);
    for (uint32_t i = 0; i < region_count; i++)
        fresh += fold(regions[i].counters, regions[i].seen, regions[i].len);
    return fresh;
}

uint32_t ss_coverage_edges(void) {
    uint32_t count = 0;
    for (size_t i = 0; i < EDGES; i++)
        count += seen_edges[i] != 0;
    for (uint32_t r = 0; r < region_count; r++)
        for (size_t i = 0; i < regions[r].len; i++)
            count += regions[r].seen[i] != 0;
    return count;
}

void ss_coverage_watch_numbers(bool watch) {
    is_watched = watch;
}

uint64_t ss_coverage_number(uint64_t which) {
    for (uint64_t i = 0; i < NUMBERS; i++)
        if (numbers[(which + i) % NUMBERS] != 0)
            return numbers[(which + i) % NUMBERS];
    return 0;
}
