/* stats: what is told of the events of one plugin, wherever they go.
 *
 * Between the marks stand only declarations; the build parses them. */
#ifndef SS_STATS_H
#define SS_STATS_H

#include "base/histogram.h"

#include <stdint.h>

/* cdef:begin */
#define SS_SLOT_RUNNING 0
#define SS_SLOT_PAUSED 1
#define SS_SLOT_RELOADING 2
#define SS_SLOT_FAILED 3
#define SS_SLOT_STALLED 4 /* behind a ring: it stayed full, events are lost */
#define SS_GAP_REASONS 8 /* the bits of SLIPSTREAM_GAP_* */

typedef struct ss_stats {
    uint32_t state;        /* SS_SLOT_* */
    int32_t status;        /* inline: the last one that was not OK */
    /* Each event that was accepted for it, so the last ordinal given out, is one of the five at
     * every moment. */
    uint64_t accepted;
    uint64_t delivered;    /* taken and acknowledged */
    uint64_t dead;         /* refused for good, by a status or by crashes */
    uint64_t told;         /* lost, and the GAP that tells of it was acknowledged */
    uint64_t undelivered;  /* left by an unload */
    uint64_t waiting;      /* none of these yet */
    uint64_t dead_unkept;  /* of the dead: those that are in no dead-letter file */
    uint64_t lost;         /* so far, told of or not yet */
    uint64_t lost_for[SS_GAP_REASONS]; /* the same by reason: bit n of SLIPSTREAM_GAP_* */
    uint64_t ring_bytes;   /* the size of its ring, and what of it is in use; 0 where it has none */
    uint64_t ring_used;
    uint64_t acknowledged; /* the last acknowledged ordinal */
    uint64_t retrying;     /* the ordinal that is offered again until it is taken; 0: none */
    uint64_t retrying_since_ns; /* since 1970 */
    uint64_t samples;      /* callbacks that were timed; inline: one in 64 */
    uint64_t total_ns;     /* their time */
    uint64_t buckets[SS_TIME_BUCKETS]; /* bucket n: below 2^n ns, at least half of it */
} ss_stats;
/* cdef:end */

#endif
