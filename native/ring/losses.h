/* losses: says in the log when events are lost, while they are: the first of a spell, then once a
 * minute how many. A spell is over when nothing was lost for a minute. [whoever holds what loses] */
#ifndef SS_LOSSES_H
#define SS_LOSSES_H

#include "base/log_queue.h"
#include "ring/stats.h"

#include <stdint.h>

typedef struct ss_losses {
    ss_log_queue *log; /* NULL: nobody is told */
    uint32_t log_id;
    uint32_t reasons;  /* SLIPSTREAM_GAP_*, since the last line */
    uint64_t all;      /* events lost so far */
    uint64_t by[SS_GAP_REASONS]; /* lost so far, by the bit of the reason */
    uint64_t told;     /* of those, at the last line */
    uint64_t told_at;  /* ticks; 0: there was none */
    uint64_t last_at;  /* ticks, of the last loss */
} ss_losses;

/* `count` more, for these reasons, the first of which has this ordinal. */
void ss_losses_note(ss_losses *losses, uint64_t ordinal, uint64_t count, uint32_t reasons);
/* The same where nothing is to be said. */
void ss_losses_count(ss_losses *losses, uint64_t count, uint32_t reasons);
/* Says how many there were, if that is due; for who looks now and then. */
void ss_losses_look(ss_losses *losses);

#endif
