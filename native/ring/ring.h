/* ring: events on their way from the sequencer (one producer) to one plugin (one consumer).
 *
 * The same code serves thread mode, in private memory, and process mode, in shared memory
 * that the consumer can only read. Who writes what:
 *
 *   ss_ring_head   SS_OS_PAGE bytes in front of the data, written by the producer only
 *   data           `bytes` of records, mapped twice in a row so that nothing wraps;
 *                  written by the producer only
 *   ss_control     written by the consumer only
 *
 * A record is what one publication put in: a head, the gap before it if there is one, and
 * whole frames with consecutive ordinals, one behind the other.
 *
 *   at  type  field
 *    0  u64   first     ordinal of the first frame
 *    8  u32   bytes     of all frames
 *   12  u32   count     of frames, bit 31: a gap block follows
 *   16        72 bytes of ss_gap_block, if bit 31 is set: what was lost before it
 *             the frames
 *
 * Cursors are ordinals: `acked` says that every event up to it is done with. The producer
 * finds the bytes that this frees by walking over the records, in its own memory. */
#ifndef SS_RING_H
#define SS_RING_H

#include "frame/gap.h"
#include "platform/platform.h"
#include "ring/control.h"
#include "ring/losses.h"
#include "ring/outcomes.h"

#define SS_RING_MIN (64 * 1024)
#define SS_RING_MAX (1024 * 1024 * 1024)
#define SS_SKIPS 16
/* So many refusals a consumer tells of before the first of them is written down. */
#define SS_REFUSALS_MAX 64

typedef struct ss_record {
    uint64_t first;
    uint32_t bytes;
    uint32_t count;
} ss_record;
#define SS_RECORD_HAS_GAP 0x80000000u

/* A poison: the event, or the GAP that tells of it, that no consumer gets any more. Or an event
 * that was refused, and is not acknowledged yet: no GAP tells of that. */
#define SS_SKIP_SETTLED 0
typedef struct ss_skip {
    uint64_t ordinal;
    uint32_t reasons; /* of the GAP, or SS_SKIP_SETTLED */
    uint32_t is_gap;
} ss_skip;

typedef struct ss_ring_head {
    SS_LINE _Atomic uint64_t head; /* bytes ever published */
    SS_LINE _Atomic uint64_t tail; /* bytes given back; moved by the producer only */
    _Atomic uint64_t tail_ordinal; /* everything up to it is gone from the ring */
    /* drop_oldest: what of the lost the consumer was not told of yet, under a sequence
     * number that is odd while it is written. */
    _Atomic uint32_t lost_sequence;
    uint32_t fences; /* no membarrier: both sides fence when the consumer parks */
    ss_gap_block lost;
    SS_LINE _Atomic uint32_t wake; /* changes whenever the consumer may wait for it */
    _Atomic uint32_t flush_wanted; /* a number; answered by ss_control.flush_done */
    _Atomic uint32_t stop_wanted;  /* return at the boundary; each stop has its number, 0: none */
    _Atomic uint32_t is_stopping;  /* what host->is_stopping tells */
    _Atomic uint32_t paused;       /* deliver nothing, wait */
    _Atomic uint32_t kept;         /* how many refusals are written down; answers ss_refusals */
    _Atomic uint64_t boundary;     /* stop after this ordinal */
    /* Where a consumer starts; written before it does. */
    SS_LINE uint64_t resume_at;    /* bytes: a record's start */
    uint64_t resume_after;         /* ordinal: skip frames up to it */
    uint64_t replay_until;         /* deliver one by one, with `attempt`, up to it */
    uint32_t attempt;
    uint32_t flush_each;           /* flush after each event while replaying */
    uint64_t key;                  /* for the checks in ss_control */
    uint64_t skip_count;
    ss_skip skips[SS_SKIPS];
} ss_ring_head;

/* What a full ring does with the next event. The build parses these.
 * cdef:begin */
#define SS_OVERFLOW_BLOCK 0
#define SS_OVERFLOW_DROP_NEWEST 1
#define SS_OVERFLOW_DROP_OLDEST 2
/* cdef:end */

/* What the consumer sees of a ring: a view that may be read-only. */
typedef struct ss_view {
    const ss_ring_head *head;
    const uint8_t *data; /* twice `bytes`, the second half mirrors the first */
    ss_control *control;
    size_t bytes;
    uint32_t overflow;
    uint32_t shared; /* `wake` lies in shared memory */
} ss_view;

/* ---- The producer's side: one thread at a time, whoever holds the queue's lock -------- */

typedef struct ss_ring ss_ring;

/* Makes a ring of `bytes` (a power of two) and populates it. Shared: in sealed memory
 * files, for another process. NULL with errno set when it cannot be had. */
ss_ring *ss_ring_new(size_t bytes, bool shared, uint32_t overflow);
void ss_ring_free(ss_ring *ring);

/* The descriptor to hand to a worker; -1 for a private ring. It belongs to the ring. */
int ss_ring_fd(const ss_ring *ring);
/* Each consumer has a control area of its own. What the last one left in the old one is
 * kept as far as it could be believed; the old one is freed. The ring frees the last one.
 * A new private ring has one, a new shared ring has none: then nobody sleeps and nothing
 * is acknowledged. */
void ss_ring_attach_control(ss_ring *ring, ss_control *control);

ss_ring_head *ss_ring_get_head(ss_ring *ring);
ss_control *ss_ring_get_control(ss_ring *ring);
size_t ss_ring_bytes(const ss_ring *ring);

/* Ordinals: the last one given out, lost ones included; the last one acknowledged as far
 * as it can be believed (never lower than before, never above what was delivered). */
uint64_t ss_ring_last(const ss_ring *ring);
uint64_t ss_ring_acked(ss_ring *ring);
/* False if the consumer's words did not fit their checks when they were last looked at. */
bool ss_ring_is_sane(ss_ring *ring);

/* Puts `count` frames of `len` bytes, which get the next ordinals. False if there is no
 * room (never with drop_oldest, unless the oldest is being copied out just now: the new one
 * is lost instead, as SLIPSTREAM_GAP_DROPPED_OLDEST all the same, since that is the policy).
 * Does not wake the consumer: ss_ring_wake does. */
bool ss_ring_put(ss_ring *ring, const uint8_t *frames, size_t len, uint32_t count);
/* The same for a frame that is written in place: room for `len` bytes, or NULL; then
 * commit of at most as many, and nothing else in between. */
uint8_t *ss_ring_reserve(ss_ring *ring, size_t len);
void ss_ring_commit(ss_ring *ring, size_t len, uint32_t count);
/* Could so large a run ever fit? */
bool ss_ring_fits(const ss_ring *ring, size_t len);

/* An event that does not get in: it takes an ordinal and is told of by a GAP. */
void ss_ring_lose(ss_ring *ring, const uint8_t *frame, uint32_t reason);
/* Tells of what was lost at the end, as soon as there is room. True if nothing is left to
 * be told. */
bool ss_ring_tell_lost(ss_ring *ring);
/* What says so in the log, once it has one. */
ss_losses *ss_ring_losses(ss_ring *ring);
/* Events lost so far, whatever the reason. */
uint64_t ss_ring_lost(const ss_ring *ring);

/* What became of the events, as far as was heard when ss_ring_acked was asked last. */
ss_outcomes *ss_ring_outcomes(ss_ring *ring);
/* Counts those that have no outcome yet: in the ring, with the consumer, lost and not told of. */
uint64_t ss_ring_count_waiting(ss_ring *ring);
/* What has no outcome behind *ordinal, which is moved on: an event's frame, or a GAP for those
 * that are lost, made in `made` (SS_GAP_FRAME_LEN). NULL behind the last. The consumer must be
 * gone. */
const uint8_t *ss_ring_leftover(ss_ring *ring, uint64_t *ordinal, size_t *len, uint8_t *made);
/* Takes an event that is not acknowledged out of delivery: a poison. It is told of by a GAP
 * at its place in the order. Where `ordinal` is that of a GAP, nothing is told of it. The
 * consumer must be dead. The frame, made anew for a GAP, is copied to `out` (may be NULL;
 * free it; NULL when there is no memory) and its length given; 0 if there is no such event,
 * or if SS_SKIPS of them wait already. */
size_t ss_ring_skip(ss_ring *ring, uint64_t ordinal, uint32_t reason, uint8_t **out);
/* The frame with this ordinal, if it is still there and not acknowledged; NULL else. */
const uint8_t *ss_ring_find(ss_ring *ring, uint64_t ordinal, size_t *len);

/* Is the consumer not asleep, or woken from its sleep? Then it is to do something, be it to go to
 * sleep again; `sleep` gets the number of that. */
bool ss_ring_is_awake(const ss_ring *ring, uint32_t *sleep);
/* Wakes the consumer if it sleeps. Cheap if it does not. */
void ss_ring_wake(ss_ring *ring);
/* The same in two steps: does it sleep, and is it to be woken for this? Then the caller has it
 * woken, soon, by any thread. */
bool ss_ring_must_wake(ss_ring *ring);
void ss_ring_end_sleep(ss_ring *ring);
/* Bytes in use, after looking at what was acknowledged. */
size_t ss_ring_used(ss_ring *ring);

/* The consumer is dead (or never was) and the next one may start: sets the resume_* words
 * from what was acknowledged and started. Returns the number of events that are going to
 * be delivered again. */
uint64_t ss_ring_prepare_resume(ss_ring *ring);

/* What a consumer in this process sees of it. */
ss_view ss_ring_view(ss_ring *ring);
/* What one in another process sees: maps ring and control area by the descriptors that it got.
 * False with errno set. */
bool ss_view_open(ss_view *view, int ring_fd, int control_fd, size_t bytes, uint32_t overflow);

#endif
