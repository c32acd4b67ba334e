/* dispatch: the sequencer, which orders all events for all plugins, and the plugins that
 * are called inline, on the broadcasting thread.
 *
 * Between the marks stand only declarations; the build parses them. */
#ifndef SS_DISPATCH_H
#define SS_DISPATCH_H

#include "frame.h"
#include "loader.h"

/* cdef:begin */

#define SS_SLOT_RUNNING 0
#define SS_SLOT_PAUSED 1
#define SS_SLOT_RELOADING 2
#define SS_SLOT_FAILED 3

#define SS_TIME_BUCKETS 40

typedef struct ss_core ss_core;

/* Counters of one slot. */
typedef struct ss_stats {
    uint32_t state;    /* SS_SLOT_* */
    int32_t status;    /* the last one that was not OK */
    uint64_t broadcast;    /* ordinals given out */
    uint64_t delivered;    /* events taken by the plugin: OK or IGNORED */
    uint64_t failed;       /* events that it refused for good */
    uint64_t dropped;      /* events that it was told of as GAP, or is going to be */
    uint64_t acknowledged; /* the last acknowledged ordinal */
    uint64_t samples;      /* callbacks that were timed: one in 64 */
    uint64_t total_ns;     /* their time */
    uint64_t buckets[SS_TIME_BUCKETS]; /* bucket n: below 2^n ns, at least half of it */
} ss_stats;

/* `stream` names the sequence space of events that come without one; not 0. NULL when
 * there is no memory. */
ss_core *ss_core_new(ss_logq *log, uint64_t stream);
/* Refuses everything from now on. OK, or TIMEOUT while a broadcast is under way. */
int32_t ss_core_close(ss_core *core, uint32_t ms);
/* Counted; the last release frees it. */
void ss_core_release(ss_core *core);

/* All of these wait for a running broadcast: OK, TIMEOUT, or WRONG_STATE from inside of a
 * callback or after ss_core_close. Slots are numbers, never used again. */

/* Adds a loaded instance at the end of the order. */
int32_t ss_core_attach(ss_core *core, ss_instance *instance, uint32_t ms, uint32_t *slot);
/* Adds a plugin that is not a library; `function` is an on_broadcast, called on the
 * broadcasting thread. */
int32_t ss_core_attach_function(
    ss_core *core, uint64_t kinds, void *context, uint32_t source,
    int32_t (*function)(void *, const slipstream_delivery *, const uint8_t *, size_t),
    uint32_t ms, uint32_t *slot);
/* After this no call into the slot is under way and none will come. */
int32_t ss_core_detach(ss_core *core, uint32_t slot, uint32_t ms);
/* Puts another loaded instance in the slot's place; ordinals go on. A pending gap is
 * delivered. */
int32_t ss_core_replace(ss_core *core, uint32_t slot, ss_instance *instance, uint32_t ms);
/* Running, paused or reloading; events that come meanwhile become one GAP. */
int32_t ss_core_set_state(ss_core *core, uint32_t slot, uint32_t state, uint32_t ms);
/* Where events go that the plugin refuses for good; -1: nowhere. The core writes frames
 * to it and never closes it. */
int32_t ss_core_set_dead_letter(ss_core *core, uint32_t slot, int fd, uint32_t ms);
/* Keeps all broadcasts waiting (those of this thread until unhold), so that a call into an
 * inline plugin cannot overlap with its on_broadcast. `slot` is named as the busy one. */
int32_t ss_core_hold(ss_core *core, uint32_t slot, uint32_t ms);
void ss_core_unhold(ss_core *core);
/* Adds a payload name to those that the slot claims; an instance brings its own. */
int32_t ss_core_claim(ss_core *core, uint32_t slot, const char *name, uint32_t ms);

/* Counters; may be called at any time by any thread. */
int32_t ss_core_stats(ss_core *core, uint32_t slot, ss_stats *out);
uint64_t ss_core_kinds(const ss_core *core);
/* The slot whose callback runs now, -1 if none does. For messages. */
int32_t ss_core_busy_slot(const ss_core *core);

/* What became of a call that sends. */
typedef struct ss_sent {
    uint64_t events; /* delivered to whoever subscribed to them */
    uint64_t offset; /* of the frame that was refused, in bytes */
    uint64_t index;  /* its number */
} ss_sent;

/* One mapping update, made of its parts, to all subscribers. */
int32_t ss_core_mapping_update(ss_core *core, const uint8_t *program_id, size_t program_id_len,
                               const uint8_t *mapping_name, size_t mapping_name_len,
                               const uint8_t *key, size_t key_len, const uint8_t *value,
                               size_t value_len, uint64_t height);
/* A run of frames. Nothing is sent unless all of it is well formed. */
int32_t ss_core_send(ss_core *core, const uint8_t *frames, size_t len, ss_sent *sent);

/* True on a thread whose broadcast has called the plugin that calls us now. */
bool ss_core_inside(const ss_core *core);
/* True in the child of a fork: everything here belongs to the parent. */
bool ss_forked(void);
/* cdef:end */

/* ---- For the door: sending without waiting on a lock that somebody else needs -------- */

/* May this thread send at all? False after ss_core_close and in a forked child. */
bool ss_core_is_open(const ss_core *core);
void ss_core_retain(ss_core *core);

/* The sequencer. `enter` gives OK, TIMEOUT, or WRONG_STATE when closed. From inside of a
 * callback of this very thread (`inside`) there is nothing to enter: what is sent is kept
 * until the outer call ends. */
bool ss_core_try_enter(ss_core *core);
int32_t ss_core_enter(ss_core *core, uint32_t ms);
void ss_core_leave(ss_core *core);

/* Kinds that somebody subscribes to whose plugin may block. */
uint64_t ss_core_slow_kinds(const ss_core *core);
uint64_t ss_core_claimed(const ss_core *core);

/* Is this a run of well-formed frames that may be sent? OK and in `sent->events` their
 * number; else the status and the place. `kinds` gets the set of their kinds. */
int32_t ss_core_check(const uint8_t *frames, size_t len, ss_sent *sent, uint64_t *kinds,
                      bool *stamped);

/* Send, between enter and leave, or inside. Frames were checked; unless `stamped` they are
 * copied and given stream, sequence and time. OK or NO_MEMORY. */
int32_t ss_core_put_frames(ss_core *core, const uint8_t *frames, size_t len, bool stamped);
/* OK, TOO_LARGE or NO_MEMORY. */
int32_t ss_core_put_draft(ss_core *core, ss_draft *draft);
/* To the first slot that claims the payload's name; NOT_FOUND if none does. */
int32_t ss_core_route(ss_core *core, ss_draft *draft);

#endif
