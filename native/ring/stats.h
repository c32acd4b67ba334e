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

typedef struct ss_stats {
    uint32_t state;        /* SS_SLOT_* */
    int32_t status;        /* inline: the last one that was not OK */
    uint64_t broadcast;    /* the last ordinal given out */
    uint64_t delivered;    /* events taken by the plugin: OK or IGNORED */
    uint64_t failed;       /* events that it refused for good */
    uint64_t dropped;      /* events that it was told of as GAP, or is going to be */
    uint64_t acknowledged; /* the last acknowledged ordinal */
    uint64_t retrying;     /* the ordinal that is offered again until it is taken; 0: none */
    uint64_t retrying_since_ns; /* since 1970 */
    uint64_t samples;      /* callbacks that were timed; inline: one in 64 */
    uint64_t total_ns;     /* their time */
    uint64_t buckets[SS_TIME_BUCKETS]; /* bucket n: below 2^n ns, at least half of it */
} ss_stats;
/* cdef:end */

#endif
