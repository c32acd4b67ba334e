/* witness: what the plugin witness.c and test_threads.c share. */
#ifndef WITNESS_H
#define WITNESS_H

#include "check.h"

#include <stdatomic.h>
#include <time.h>

/* What became of one slot's events; written by whichever instance serves it. */
typedef struct ledger {
    uint64_t last;     /* ordinal */
    uint64_t sequence;
    uint64_t events;
    uint64_t lost;
    uint64_t gaps;
    atomic_uint inside;
    atomic_uint loaded;
} ledger;

#endif
