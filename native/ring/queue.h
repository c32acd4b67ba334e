/* port: a ring with its lock and its rules for being full. The sequencer puts events in,
 * the supervisor looks after what was acknowledged; whoever holds the lock is the ring's
 * producer.
 *
 * Between the marks stand only declarations; the build parses them. */
#ifndef SS_PORT_H
#define SS_PORT_H

#include "base/lock.h"
#include "ring/ring.h"

#include <slipstream.h>

/* cdef:begin */
#define SS_PORT_BLOCK 0
#define SS_PORT_DROP_NEWEST 1
#define SS_PORT_DROP_OLDEST 2

typedef struct ss_port ss_port;

/* Makes a ring of `bytes`, a power of two. `shared`: for a worker process. NULL with errno
 * set where memory or descriptors are missing. */
ss_port *ss_port_new(size_t bytes, uint32_t shared, uint32_t overflow, uint32_t block_timeout_ms);
void ss_port_free(ss_port *port);

typedef struct ss_port_stats {
    uint64_t broadcast;    /* the last ordinal given out */
    uint64_t acknowledged;
    uint64_t delivered;
    uint64_t failed;
    uint64_t dropped;
    uint64_t calls;        /* timed callbacks */
    uint64_t total_ns;
    uint64_t buckets[40];  /* bucket n: below 2^n ns, at least half of it */
    uint64_t used_bytes;
    uint32_t is_stalled;
    uint32_t is_paused;
} ss_port_stats;
void ss_port_describe(ss_port *port, ss_port_stats *out);

/* Deliver nothing until resumed; what comes is kept until the ring is full. */
void ss_port_pause(ss_port *port, uint32_t paused);

/* Nobody takes anything out of it: broadcasts shall not wait for room. */
void ss_port_hold_nobody(ss_port *port, bool held);

/* Asks the consumer to make everything durable; a number for ss_port_flushed. */
uint32_t ss_port_ask_flush(ss_port *port);
/* OK when everything up to `ordinal` is acknowledged, the status of the plugin's flush if
 * that failed, TIMEOUT after `ms`. Where that flush was not enough it asks for another one,
 * and changes the number. */
int32_t ss_port_flushed(ss_port *port, uint32_t *number, uint64_t ordinal, uint32_t ms);

/* What is left unacknowledged, as frames; NULL behind the last. The consumer must be gone.
 * Start with *ordinal 0; it is moved on. */
const uint8_t *ss_port_leftover(ss_port *port, uint64_t *ordinal, size_t *len);
/* cdef:end */

struct ss_port {
    ss_ring *ring;
    ss_lock lock;
    uint32_t block_timeout_ms;
    uint32_t overflow;
    _Atomic uint32_t stalled; /* a block_timeout has expired: lose without waiting */
    _Atomic uint32_t paused;  /* never wait for room */
    _Atomic uint32_t held;    /* the same: quarantined, or failed */
    uint32_t too_large;       /* counts events that are larger than the ring */
    uint32_t stops;           /* how often somebody wanted it to stop */
    uint64_t lost_seen;       /* events lost so far, at the last look */
    ss_port_stats past;       /* counters of the consumers before the present one */
};

/* Puts frames, all wanted, with the next ordinals. False: there is no room for those that
 * *frames and *len now name; wait for it and try again with them (their number is then not
 * known; give 0). Otherwise all are in, or lost by the port's rules. */
bool ss_port_put(ss_port *port, const uint8_t **frames, size_t *len, uint32_t count);
/* One event, made in the ring itself: room for `len` bytes, to be written and committed at
 * once; until then the lock is held. NULL, with nothing held: not so simply, use ss_port_put. */
uint8_t *ss_port_reserve(ss_port *port, size_t len);
void ss_port_commit(ss_port *port, size_t len);
/* Tells of what was lost last, but in one GAP: not as long as more is being lost. Called now
 * and then. The lock is held. */
void ss_port_tell_lost(ss_port *port);
/* The consumer shall stop behind this ordinal; `hurry`: and the plugin is told to return. Each
 * stop has a number of its own in the ring's head. The lock is held. */
void ss_port_want_stop(ss_port *port, uint64_t boundary, bool hurry);
void ss_port_clear_stop(ss_port *port);
/* Have the consumer look at what is wanted, even where it sleeps whatever comes. The lock is
 * held. */
void ss_port_rouse(ss_port *port);
/* A new consumer's control area; the lock is held. */
void ss_port_attach_control(ss_port *port, ss_control *control);
/* Frames that could not wait any longer: they are lost. `stalled`: so is what comes next,
 * until the ring is half empty. */
void ss_port_give_up(ss_port *port, const uint8_t *frames, size_t len, bool stalled);

#endif
