/* control: the area that a ring's consumer writes, and in process mode all that a worker can
 * write. The host believes nothing in it: see ss_ring_acked.
 * Between the marks stand only declarations; the build parses them. */
#ifndef SS_CONTROL_H
#define SS_CONTROL_H

#include "base/histogram.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

/* Each group of words that one side writes often has a cache line of its own. */
#define SS_LINE _Alignas(64)

/* A value that the consumer tells the producer, and value ^ key ^ place, so that stray
 * writes are told from honest ones. The check is written first. */
typedef struct ss_told {
    _Atomic uint64_t value;
    _Atomic uint64_t check;
} ss_told;

/* cdef:begin */
#define SS_FAULT_FRAMES 32
#define SS_FAULT_MODULES 8

/* Written by the handler of a deadly signal. */
typedef struct ss_fault {
    uint32_t written;
    int32_t signal;
    int32_t code;
    uint32_t registers; /* how many of `values` */
    uint64_t address;
    uint64_t pc;
    uint64_t sp;
    uint64_t values[32];
    uint64_t module_start; /* the mapping that holds pc */
    uint64_t module_offset; /* of pc in the module's file */
    char module[256];
    int32_t thread; /* that it came to */
    char thread_name[16];
    /* The calls that were under way, innermost first; written last, for that is the riskiest. */
    uint32_t frames;
    uint64_t frame_pc[SS_FAULT_FRAMES];
    uint64_t frame_offset[SS_FAULT_FRAMES]; /* in the module's file */
    uint32_t frame_module[SS_FAULT_FRAMES]; /* 1 + index; 0: in none that is known */
    char modules[SS_FAULT_MODULES][256];
} ss_fault;
/* cdef:end */

typedef struct ss_control {
    SS_LINE ss_told acked;
    ss_told started; /* last ordinal that was handed to the plugin */
    ss_told run;     /* how many frames the call in progress got, 0 outside of one */
    SS_LINE _Atomic uint32_t sleeping;
    _Atomic uint32_t flush_done;
    _Atomic int32_t flush_status;
    _Atomic uint32_t damaged;      /* the consumer found the ring unreadable */
    _Atomic uint32_t flushing;     /* the plugin's flush is being called */
    _Atomic uint64_t retrying;     /* ordinal that is offered again and again; 0: none */
    _Atomic uint64_t retrying_since_ns; /* of the day */
    /* drop_oldest: where it is copying out, in bytes, or SS_NO_CLAIM. */
    SS_LINE ss_told claim;
    ss_told taken; /* the last ordinal that was copied out, or found to be lost */
    /* Counters; shown, never relied on. */
    SS_LINE _Atomic uint64_t calls;
    _Atomic uint64_t call_ticks;
    _Atomic uint64_t buckets[SS_TIME_BUCKETS]; /* of ticks: bucket n is below 2^n */
    SS_LINE ss_fault fault;
} ss_control;

/* Places of the told values, mixed into their checks. */
#define SS_PLACE_ACKED 1
#define SS_PLACE_STARTED 2
#define SS_PLACE_RUN 3
#define SS_PLACE_TAKEN 4
#define SS_PLACE_CLAIM 5
#define SS_NO_CLAIM UINT64_MAX

static inline void ss_tell(ss_told *told, uint64_t key, uint64_t place, uint64_t value) {
    /* model: told, store check */
    atomic_store_explicit(&told->check, ~(value ^ key ^ (place << 56)), memory_order_relaxed);
    /* Pairs with the acquire in ss_hear, and in ss_ring_acked: whoever sees the value sees its
     * check, and everything that was done before. */
    /* model: told, store value */
    atomic_store_explicit(&told->value, value, memory_order_release);
}

/* False if value and check do not fit, be it for a moment. */
static inline bool ss_hear(const ss_told *told, uint64_t key, uint64_t place, uint64_t *value) {
    for (int tries = 0; tries < 100; tries++) {
        /* Pairs with the release in ss_tell. */
        /* model: told, load value; told, load check */
        const uint64_t heard = atomic_load_explicit(&told->value, memory_order_acquire);
        const uint64_t check = atomic_load_explicit(&told->check, memory_order_acquire);
        if (check == ~(heard ^ key ^ (place << 56))) {
            *value = heard;
            return true;
        }
    }
    return false;
}

/* A control area, zeroed. With `fd` it is shared memory, and the caller closes *fd. NULL
 * with errno set when it cannot be had. */
ss_control *ss_control_new(int *fd);
/* The same in the process that got the descriptor. */
ss_control *ss_control_open(int fd);
void ss_control_free(ss_control *control);

#endif
