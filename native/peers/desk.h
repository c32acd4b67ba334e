/* desk: the host's side of a plugin's hatches: who serves takes messages and questions here, and
 * gives the answers. A plugin has one desk for all of its instances, which come one after the
 * other, or two at a time while a new version takes over; each brings a hatch of its own.
 *
 * Any number of threads serve one desk. One message at a time is in hand, so that order is kept; one
 * that is not done after call_timeout is given up, and the next one taken. What a worker has written
 * is hostile: see hatch.h.
 *
 * Between the marks stand only declarations; the build parses them. [any-thread] */
#ifndef SS_DESK_H
#define SS_DESK_H

#include "base/log_queue.h"
#include "peers/caller.h"
#include "peers/side.h"

/* cdef:begin */
typedef struct ss_desk ss_desk;

typedef struct ss_desk_stats {
    uint64_t sent;      /* messages that were taken over and done */
    uint64_t unsent;    /* that were not: refused, given up, or left at the end */
    uint64_t answered;  /* questions */
    uint64_t late;      /* answers that nobody waited for any more */
    uint64_t denied;
    uint64_t retries;
    uint64_t timeouts;
    uint64_t waiting;   /* messages in the outboxes */
    uint64_t nonsense;  /* times that what a plugin has written could not be read */
} ss_desk_stats;

/* NULL when there is no memory. Counted: whoever has a hatch open retains it. */
ss_desk *ss_desk_new(ss_log_queue *log);
void ss_desk_free(ss_desk *desk);

/* Waits at most `ms` for something to be wanted. OK; TIMEOUT; NO_MEMORY; WRONG_STATE once the desk
 * has ended and, unless that was to be at once, every message was taken. */
int32_t ss_desk_take(ss_desk *desk, uint32_t ms, ss_asked *out);
/* Once for each that was taken: OK and an answer of `len` bytes, or a negative status. False if nobody
 * waits for it any more, and `late_ns` tells of it. Frees what `asked` holds. */
bool ss_desk_answer(ss_desk *desk, ss_asked *asked, int32_t status, const uint8_t *answer,
                    size_t len);
/* For how long it has been in hand; 0: it has its answer. */
uint64_t ss_desk_in_hand_ns(const ss_asked *asked);
/* Nothing comes any more: those who serve may go when they have taken the rest, or `at_once`. */
void ss_desk_end(ss_desk *desk, uint32_t at_once);
void ss_desk_describe(ss_desk *desk, ss_desk_stats *out);

/* What a plugin in this process asks through, whose log lines carry `log_id`; *side is for
 * ss_desk_leave when it asks nothing any more, then ss_caller_free. NULL when there is no memory. */
ss_caller *ss_desk_caller(ss_desk *desk, const ss_terms *terms, uint32_t log_id, uint64_t *side);
/* Its instance has ended: what it has put is taken out, and then the hatch is closed. */
void ss_desk_leave(ss_desk *desk, uint64_t side);
/* cdef:end */

void ss_desk_retain(ss_desk *desk);
/* A hatch for a worker, which gets the descriptor; the caller closes it. Its number, not 0; 0 with
 * errno set when it cannot be had. */
uint64_t ss_desk_open(ss_desk *desk, const ss_terms *terms, uint32_t log_id, int *fd);
/* Does what is written there make sense, as far as it was looked at? */
bool ss_desk_is_sane(ss_desk *desk, uint64_t side);

#endif
