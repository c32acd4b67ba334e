/* blame: what follows from a crash. Which event is to blame, and when the plugin is started
 * again, if at all. It only counts: it knows no clock, no ring and no process. */
#ifndef SS_BLAME_H
#define SS_BLAME_H

#include "process/spec.h"

#include <stdbool.h>
#include <stdint.h>

enum {
    SS_CRASHES_MAX = 128, /* remembered for the window */
    SS_POISON_CRASHES = 3, /* so many on one event, and it is a dead letter */
};

typedef struct ss_blame {
    uint64_t crash_ns[SS_CRASHES_MAX];
    uint32_t crashes;
    uint32_t failed_starts; /* since it ran last */
    uint32_t never_started; /* the same, where no process could be made: no fault of the plugin */
    uint64_t poison;        /* the event that was in flight, alone, at the last such crash */
    uint32_t poison_crashes;
    uint32_t flush_crashes; /* in flush, with events up to flush_until */
    uint64_t flush_until;
} ss_blame;

/* The events that were with the plugin when it crashed. During a flush they are those that it
 * has not acknowledged. */
typedef struct ss_in_flight {
    uint64_t acked;
    uint64_t last; /* ordinal; 0: nothing is known */
    uint64_t run;  /* how many, up to `last`; 0: it was outside of a call */
    bool flushing;
} ss_in_flight;

/* One more crash. The event that is a dead letter from now on, 0 if there is none. */
uint64_t ss_blame_crash(ss_blame *blame, const ss_in_flight *in_flight, uint64_t now);
/* Is the next generation to flush after each event that it gets again? */
bool ss_blame_wants_flushes(const ss_blame *blame);
/* How many crashes and failed starts count now. */
uint32_t ss_blame_recent(const ss_blame *blame, const ss_spec *spec, uint64_t now);
/* How long to wait after so many; `random` varies it, so that not all start at once. */
uint64_t ss_blame_delay_ns(const ss_spec *spec, uint32_t recent, uint64_t random);
/* Somebody has seen to it: it starts with a clean record. */
void ss_blame_forget(ss_blame *blame);

#endif
