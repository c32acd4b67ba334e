/* types: what the sequencer is made of, for the files that make it. All of it is for
 * whoever holds the sequencer. */
#ifndef SS_SEQUENCER_TYPES_H
#define SS_SEQUENCER_TYPES_H

#include "base/clock.h"
#include "base/lock.h"
#include "frame/dead_letter.h"
#include "sequencer/sequencer.h"

enum { SS_SLOTS_MAX = 256 };

/* Counters are written by whoever holds the sequencer and read by anybody. */
typedef _Atomic uint64_t ss_counter;

static inline uint64_t ss_counter_read(const ss_counter *c) {
    return atomic_load_explicit(c, memory_order_relaxed);
}

static inline void ss_counter_add(ss_counter *c, uint64_t amount) {
    atomic_store_explicit(c, ss_counter_read(c) + amount, memory_order_relaxed);
}

static inline void ss_counter_set(ss_counter *c, uint64_t value) {
    atomic_store_explicit(c, value, memory_order_relaxed);
}

typedef int32_t (*ss_on_broadcast)(void *, const slipstream_delivery *, const uint8_t *, size_t);

typedef struct ss_slot {
    uint64_t kinds; /* what it gets now; 0 once it has failed */
    ss_on_broadcast call;
    void *instance;
    ss_host *host; /* NULL for a function and for a queue */
    ss_queue *queue; /* NULL for what is called inline */
    _Atomic bool wake_handed; /* to the waker */
    /* A queue that blocks: what it had no room for, and since when. */
    const uint8_t *waiting;
    size_t waiting_len;
    uint64_t waiting_kinds;
    uint64_t waiting_since;
    slipstream_delivery delivery;
    uint32_t id;
    uint32_t log_id;
    uint32_t flags;
    ss_letters *letters; /* NULL: what is refused is kept nowhere */
    uint64_t refused;    /* of the piece that is being delivered */
    uint64_t added;      /* of those: as a letter */
    uint64_t behind;     /* of the last ones: those that are not acknowledged, for it has failed */
    uint64_t ordinal;     /* the last one given out */
    ss_gap_block pending; /* what it missed and was not told of */
    ss_losses losses; /* where it has no ring */
    char **claims;
    size_t claim_count;
    _Atomic uint32_t state;
    _Atomic int32_t status;
    /* `accepted` is written before the others of a piece, `settled` after them: where both are
     * equal, all of them are of one moment. What changes beside a piece does under slots_lock. */
    ss_counter accepted;
    ss_counter settled;
    ss_counter delivered;
    ss_counter dead;
    ss_counter dead_unkept;
    ss_counter told;
    ss_counter lost;
    ss_counter samples;
    ss_counter total_ns;
    ss_counter buckets[SS_TIME_BUCKETS];
} ss_slot;

/* A thread that wakes consumers, once there was something for it. */
typedef struct ss_waker {
    ss_os_thread thread;
    bool runs;
    _Atomic uint32_t stop;
    _Atomic uint32_t handed; /* changes with each hand-over */
    _Atomic uint32_t sleeps;
} ss_waker;

typedef struct ss_buffer {
    uint8_t *data;
    size_t len;
    size_t room;
} ss_buffer;

struct ss_sequencer {
    ss_lock lock; /* the sequencer */
    ss_log_queue *log;
    uint64_t stream;
    uint64_t sequence;
    _Atomic uint64_t kinds;
    _Atomic uint64_t slow_kinds;
    _Atomic uint64_t claimed;
    _Atomic uint32_t references;
    _Atomic uint32_t closed;
    _Atomic int32_t busy;
    uint32_t next_id;
    uint32_t count;
    uint32_t waiting;    /* slots with something waiting */
    uint32_t too_large;  /* an event was larger than some ring */
    uint32_t process;    /* that made it: in no other one anything is sent */
    bool may_wait;       /* whoever sends has let go of the interpreter lock */
    bool hurry;          /* it was interrupted: wait for nothing any more */
    bool (*interrupted)(void); /* asked now and then while waiting for room */
    ss_wall wall;
    ss_buffer scratch;
    ss_buffer deferred;
    ss_slot *sleepers[SS_SLOTS_MAX]; /* what the piece under way went to, and is to be woken */
    uint32_t sleeper_count;
    ss_waker waker;
    ss_os_mutex slots_lock; /* for `slots` and `count`; taken inside of `lock` */
    ss_slot *slots[SS_SLOTS_MAX];
};

/* Pairs with the acquires in describe (attach.c). */
static inline void ss_counter_show(ss_counter *c, uint64_t value) {
    atomic_store_explicit(c, value, memory_order_release);
}

/* In slots.c. We are the child of a fork, and a callback has come back in it: nothing that is
 * under way goes on, and whoever has called hears that this is not his. */
void ss_sequencer_disown(ss_sequencer *sequencer);

/* ---- slots --------------------------------------------------------------------------- */

ss_slot *ss_slot_find(const ss_sequencer *sequencer, uint32_t id);
/* What all of them want together, after any of them has changed. */
void ss_slots_refresh(ss_sequencer *sequencer);
bool ss_slot_add_claim(ss_slot *s, const char *name);
void ss_slot_drop_claims(ss_slot *s);
void ss_slot_free(ss_slot *s);

static inline bool ss_slot_is_open(const ss_slot *s) {
    return atomic_load_explicit(&s->state, memory_order_relaxed) == SS_SLOT_RUNNING;
}

/* ---- inline -------------------------------------------------------------------------- */

/* Those of the frames that it wants, stamped, to a slot that is running. */
void ss_slot_deliver(ss_sequencer *sequencer, ss_slot *s, const uint8_t *frames, size_t len);
/* The same for unchecked frames, all of which it wants if they are usual, one by one; not for
 * a function. Stops before the first that is not usual and stamped, or after the first that
 * failed. */
void ss_slot_deliver_unchecked(ss_sequencer *sequencer, ss_slot *s, const uint8_t *frames,
                               size_t len, ss_sent *sent);
/* Frames of these kinds that it wants but may not get now. */
void ss_slot_miss(ss_sequencer *sequencer, ss_slot *s, uint64_t kinds, const uint8_t *frames,
                  size_t len);
/* Tells it of what it missed. */
void ss_slot_tell_gap(ss_sequencer *sequencer, ss_slot *s);

/* ---- queues -------------------------------------------------------------------------- */

/* Those of the frames that are of these kinds into the slot's ring. `count` of them, where all
 * are; 0: nobody knows. What does not fit waits, and with it what follows, which must lie right
 * behind it. */
void ss_slot_put(ss_sequencer *sequencer, ss_slot *s, uint64_t kinds, const uint8_t *frames,
                 size_t len, uint32_t count);
/* Room for an event of this kind in the ring of the only plugin that wants it, to be written
 * there and committed to *queue at once. NULL: it is not so simple. */
uint8_t *ss_sequencer_reserve_in_ring(ss_sequencer *sequencer, uint64_t kind_bit, size_t len,
                                      ss_queue **queue);

/* ---- wakes --------------------------------------------------------------------------- */

static inline void ss_slot_must_wake(ss_sequencer *sequencer, ss_slot *s) {
    sequencer->sleepers[sequencer->sleeper_count++] = s;
}
/* Has them woken: by us, or by the waker, where they are many. */
void ss_sequencer_wake_all(ss_sequencer *sequencer);
static inline void ss_sequencer_wake_sleepers(ss_sequencer *sequencer) {
    if (__builtin_expect(sequencer->sleeper_count > 0, 0))
        ss_sequencer_wake_all(sequencer);
}
/* Wakes it now, if it was left to the waker. slots_lock is held. */
void ss_slot_wake_handed(ss_slot *s);
/* Has the waker look at all slots again. */
void ss_waker_rouse(ss_waker *waker);
/* Once nothing is sent any more. */
void ss_waker_stop(ss_waker *waker);

/* ---- send ---------------------------------------------------------------------------- */

/* What callbacks sent while the outer call was under way, in the order in which they did. */
void ss_sequencer_send_deferred(ss_sequencer *sequencer);

#endif
