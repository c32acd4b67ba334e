/* sequencer: orders all events for all plugins, and the plugins that
 * are called inline, on the broadcasting thread.
 *
 * Between the marks stand only declarations; the build parses them. */
#ifndef SS_SEQUENCER_H
#define SS_SEQUENCER_H

#include "frame/dead_letter.h"
#include "frame/frame.h"
#include "plugin/instance.h"
#include "ring/queue.h"

/* cdef:begin */
typedef struct ss_sequencer ss_sequencer;

/* `stream` names the sequence space of events that come without one; not 0. NULL when
 * there is no memory. */
ss_sequencer *ss_sequencer_new(ss_log_queue *log, uint64_t stream);
/* Refuses everything from now on. OK, or TIMEOUT while a broadcast is under way. */
int32_t ss_sequencer_close(ss_sequencer *sequencer, uint32_t ms);
/* Counted; the last release frees it. */
void ss_sequencer_release(ss_sequencer *sequencer);

/* All of these wait for a running broadcast: OK, TIMEOUT, or WRONG_STATE from inside of a
 * callback or after ss_sequencer_close. Slots are numbers, never used again. */

/* Adds a loaded instance at the end of the order. */
int32_t ss_sequencer_attach(ss_sequencer *sequencer, ss_instance *instance, uint32_t ms,
                            uint32_t *slot);
/* Adds a plugin that is not a library; `function` is an on_broadcast, called on the
 * broadcasting thread. */
int32_t ss_sequencer_attach_function(ss_sequencer *sequencer, uint64_t kinds, void *context,
                                     uint32_t log_id,
                                     int32_t (*function)(void *, const slipstream_delivery *,
                                                         const uint8_t *, size_t),
                                     uint32_t ms, uint32_t *slot);
/* Adds a plugin behind a ring; `kinds` as its subscribed_events said. The queue must outlive
 * the slot. */
int32_t ss_sequencer_attach_queue(ss_sequencer *sequencer, ss_queue *queue, uint64_t kinds,
                                 uint32_t log_id, uint32_t ms, uint32_t *slot);
/* What a queue's plugin wants and claims, after a reload; instead of what it did before. */
int32_t ss_sequencer_renew_queue(ss_sequencer *sequencer, uint32_t slot, uint64_t kinds,
                                uint32_t log_id, const char *const *claims, size_t claim_count,
                                uint32_t ms);
/* A GAP frame's length. */
#define SS_GAP_LEN 128
/* After this no call into the slot is under way and none will come. Its last counters, and the
 * GAP of what it missed and was not told of: room for SS_GAP_LEN bytes, 0 if there is none. */
int32_t ss_sequencer_detach(ss_sequencer *sequencer, uint32_t slot, uint32_t ms, ss_stats *last,
                            char *gap, size_t *gap_len);
/* Puts another loaded instance in the slot's place; ordinals go on. A pending gap is
 * delivered. */
int32_t ss_sequencer_replace(ss_sequencer *sequencer, uint32_t slot, ss_instance *instance,
                             uint32_t ms);
/* Running, paused or reloading; events that come meanwhile become one GAP. Failed: it gets
 * nothing more, until it is replaced. */
int32_t ss_sequencer_set_state(ss_sequencer *sequencer, uint32_t slot, uint32_t state, uint32_t ms);
/* Where events go that the plugin refuses for good. */
int32_t ss_sequencer_set_letters(ss_sequencer *sequencer, uint32_t slot, ss_letters *letters,
                                 uint32_t ms);
/* Keeps all broadcasts waiting (those of this thread until unhold), so that a call into an
 * inline plugin cannot overlap with its on_broadcast. `slot` is named as the busy one. */
int32_t ss_sequencer_hold(ss_sequencer *sequencer, uint32_t slot, uint32_t ms);
/* `stuck`: that call has not returned; the slot is paused, for calls must not overlap. */
void ss_sequencer_unhold(ss_sequencer *sequencer, bool stuck);
/* Adds a payload name to those that the slot claims; an instance brings its own. */
int32_t ss_sequencer_claim(ss_sequencer *sequencer, uint32_t slot, const char *name, uint32_t ms);

/* Counters; may be called at any time by any thread. */
int32_t ss_sequencer_stats(ss_sequencer *sequencer, uint32_t slot, ss_stats *out);
uint64_t ss_sequencer_kinds(const ss_sequencer *sequencer);
/* The slot whose callback runs now, or whose full ring is waited for; -1 if there is none.
 * For messages. */
int32_t ss_sequencer_busy_slot(const ss_sequencer *sequencer);

/* How far a call that sends got. */
typedef struct ss_sent {
    uint64_t index;  /* frames that were sent; so the number of the one that was refused */
    uint64_t offset; /* and their bytes */
} ss_sent;

/* One mapping update, made of its parts, to all subscribers. */
int32_t ss_sequencer_mapping_update(ss_sequencer *sequencer, const uint8_t *program_id,
                                    size_t program_id_len, const uint8_t *mapping_name,
                                    size_t mapping_name_len, const uint8_t *key, size_t key_len,
                                    const uint8_t *value, size_t value_len, uint64_t height);
/* A run of frames. A malformed one ends it; those before it are sent. */
int32_t ss_sequencer_send(ss_sequencer *sequencer, const uint8_t *frames, size_t len,
                          ss_sent *sent);

/* True on a thread whose broadcast has called the plugin that calls us now. */
bool ss_sequencer_inside(const ss_sequencer *sequencer);
/* cdef:end */

/* ---- For the door: sending without waiting on a lock that somebody else needs -------- */

/* May this thread send at all? False after ss_sequencer_close and in a forked child. */
bool ss_sequencer_is_open(const ss_sequencer *sequencer);
void ss_sequencer_retain(ss_sequencer *sequencer);

/* The sequencer. `enter` gives OK, TIMEOUT, or WRONG_STATE when closed. From inside of a
 * callback of this very thread (`inside`) there is nothing to enter: what is sent is kept
 * until the outer call ends. */
bool ss_sequencer_try_enter(ss_sequencer *sequencer);
int32_t ss_sequencer_enter(ss_sequencer *sequencer, uint32_t ms);
/* TOO_LARGE if an event since `enter` was larger than some plugin's ring; WRONG_STATE if we are a
 * child that was forked meanwhile. */
int32_t ss_sequencer_leave(ss_sequencer *sequencer);
/* Would `leave` have more to do than to leave: wait for room in a ring, or send what
 * callbacks have sent meanwhile? Then let go of the interpreter lock first, and say so. */
bool ss_sequencer_has_more(const ss_sequencer *sequencer);
/* Rings that are full may be waited for. `interrupted` is asked now and then; true ends the
 * waiting, the rest is lost and told of. ss_sequencer_enter says so by itself. */
void ss_sequencer_may_wait(ss_sequencer *sequencer, bool (*interrupted)(void));
/* Puts what had no room, as the queue's rules say. */
void ss_sequencer_wait_for_room(ss_sequencer *sequencer);

/* Is a callback under way, or a wait for room in which a signal handler may run? Then what
 * is sent is kept until it has ended. */
bool ss_sequencer_inside_callback(const ss_sequencer *sequencer);
/* Kinds that somebody subscribes to whose plugin may block. */
uint64_t ss_sequencer_slow_kinds(const ss_sequencer *sequencer);
uint64_t ss_sequencer_claimed(const ss_sequencer *sequencer);

/* Is this a run of well-formed frames that may be sent? Looks at those that start within
 * the first `limit` bytes. OK, or the status for the first that is not. `sent` moves on over
 * those that are good, `kinds` the set of their kinds, `stamped` whether all of them have stream,
 * sequence and time. */
int32_t ss_sequencer_check(const uint8_t *frames, size_t len, size_t limit, ss_sent *sent,
                           uint64_t *kinds, bool *stamped);

/* Send, between enter and leave. */

/* Checks and sends the caller's frames, piece by piece; also inside of a callback. Where
 * one lacks stream, sequence or time they are copied first. OK, NO_MEMORY, or what is
 * wrong with the first frame that was not sent. */
int32_t ss_sequencer_put_frames(ss_sequencer *sequencer, const uint8_t *frames, size_t len,
                                ss_sent *sent);
/* Sends frames that were checked and may be written to. Not inside of a callback. */
void ss_sequencer_put_own(ss_sequencer *sequencer, uint8_t *frames, size_t len, bool stamped);
/* OK, TOO_LARGE or NO_MEMORY. */
int32_t ss_sequencer_put_draft(ss_sequencer *sequencer, ss_draft *draft);
/* To the first slot that claims the payload's name; NOT_FOUND if none does. */
int32_t ss_sequencer_route(ss_sequencer *sequencer, ss_draft *draft);

#endif
