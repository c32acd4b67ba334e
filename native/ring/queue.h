/* queue: a ring with its lock and its rules for being full. The sequencer puts events in,
 * the supervisor looks after what was acknowledged; whoever holds the lock is the ring's
 * producer.
 *
 * Between the marks stand only declarations; the build parses them. */
#ifndef SS_QUEUE_H
#define SS_QUEUE_H

#include "base/lock.h"
#include "ring/ring.h"
#include "ring/stats.h"

#include <slipstream.h>

/* cdef:begin */
typedef struct ss_queue ss_queue;

/* Makes a ring of `bytes`, a power of two. `shared`: for a worker process. NULL with errno
 * set where memory or descriptors are missing. */
ss_queue *ss_queue_new(size_t bytes, uint32_t shared, uint32_t overflow, uint32_t block_timeout_ms);
void ss_queue_free(ss_queue *queue);

void ss_queue_describe(ss_queue *queue, ss_stats *out);

/* Deliver nothing until resumed; what comes is kept until the ring is full. */
void ss_queue_pause(ss_queue *queue, uint32_t paused);

/* Nobody takes anything out of it: broadcasts shall not wait for room; what has none is lost for
 * this reason, SLIPSTREAM_GAP_*. 0: somebody does again. */
void ss_queue_hold_nobody(ss_queue *queue, uint32_t reason);

/* Asks the consumer to make everything durable; a number for ss_queue_flushed. */
uint32_t ss_queue_ask_flush(ss_queue *queue);
/* OK when everything up to `ordinal` is acknowledged, the status of the plugin's flush if
 * that failed, TIMEOUT after `ms`. Where that flush was not enough it asks for another one,
 * and changes the number. */
int32_t ss_queue_flushed(ss_queue *queue, uint32_t *number, uint64_t ordinal, uint32_t ms);

/* What is left without an outcome, as frames, with GAPs for what was lost and not told of; NULL
 * behind the last. The consumer must be gone. Start with *ordinal 0; it is moved on. */
const uint8_t *ss_queue_leftover(ss_queue *queue, uint64_t *ordinal, size_t *len);
/* That is its end: what is left counts as undelivered. */
void ss_queue_abandon(ss_queue *queue);
/* cdef:end */

struct ss_queue {
    ss_ring *ring;
    ss_lock lock;
    uint32_t block_timeout_ms;
    uint32_t overflow;
    _Atomic uint32_t stalled; /* a block_timeout has expired: lose without waiting */
    _Atomic uint32_t paused;  /* never wait for room */
    _Atomic uint32_t held;    /* the same, for this reason: quarantined, or failed */
    uint32_t too_large;       /* counts events that are larger than the ring */
    uint32_t stops;           /* how often somebody wanted it to stop */
    uint64_t lost_seen;       /* events lost so far, at the last look */
    uint8_t gap[SS_GAP_FRAME_LEN]; /* that ss_queue_leftover gave out */
    ss_stats past; /* counters of the consumers before the present one */
};

/* Puts frames, all wanted, with the next ordinals. False: there is no room for those that
 * *frames and *len now name; wait for it and try again with them (their number is then not
 * known; give 0). Otherwise all are in, or lost by the queue's rules. *must_wake becomes true
 * where the consumer sleeps: see ss_ring_must_wake. */
bool ss_queue_put(ss_queue *queue, const uint8_t **frames, size_t *len, uint32_t count,
                  bool *must_wake);
/* One event, made in the ring itself: room for `len` bytes, to be written and committed at
 * once; until then the lock is held. NULL, with nothing held: not so simply, use ss_queue_put. */
uint8_t *ss_queue_reserve(ss_queue *queue, size_t len);
void ss_queue_commit(ss_queue *queue, size_t len);
/* Whom to tell in the log that events are lost. */
void ss_queue_set_log(ss_queue *queue, ss_log_queue *log, uint32_t log_id);
/* Tells of what was lost last, but in one GAP: not as long as more is being lost. Called now
 * and then. The lock is held. */
void ss_queue_tell_lost(ss_queue *queue);
/* The consumer shall stop behind this ordinal; `hurry`: and the plugin is told to return. Each
 * stop has a number of its own in the ring's head. The lock is held. */
void ss_queue_want_stop(ss_queue *queue, uint64_t boundary, bool hurry);
void ss_queue_clear_stop(ss_queue *queue);
/* Does the consumer offer an event again and again? Then nothing behind it comes. The lock is
 * held. */
bool ss_queue_is_retrying(const ss_queue *queue);
/* Have the consumer look at what is wanted, even where it sleeps whatever comes. The lock is
 * held. */
void ss_queue_rouse(ss_queue *queue);
/* A new consumer's control area; the lock is held. */
void ss_queue_attach_control(ss_queue *queue, ss_control *control);
/* Frames that could not wait any longer: they are lost. `stalled`: so is what comes next,
 * until the ring is half empty. */
void ss_queue_give_up(ss_queue *queue, const uint8_t *frames, size_t len, bool stalled);

#endif
