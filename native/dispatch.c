#include "dispatch.h"

#include "frame_usual.h"
#include "lock.h"
#include "ticks.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

enum {
    SLOTS_MAX = 256,
    RUN_BYTES = 16 * 1024,     /* a longer run is handed over in pieces of about this size */
    NAP_NS = 20 * 1000,        /* between two looks for room, at first */
    NAP_MAX_NS = 1000 * 1000,
    LOOK_EVERY_NS = 100 * 1000 * 1000,
    SAMPLE_EVERY = 64,         /* one callback in so many is timed */
    SCRATCH_KEPT = 1024 * 1024 /* a larger scratch buffer is given back */
};

/* Counters are written by whoever holds the sequencer and read by anybody. */
typedef _Atomic uint64_t counter;

static inline uint64_t read_counter(const counter *c) {
    return atomic_load_explicit(c, memory_order_relaxed);
}

static inline void add(counter *c, uint64_t amount) {
    atomic_store_explicit(c, read_counter(c) + amount, memory_order_relaxed);
}

static inline void set(counter *c, uint64_t value) {
    atomic_store_explicit(c, value, memory_order_relaxed);
}

typedef int32_t (*on_broadcast)(void *, const slipstream_delivery *, const uint8_t *, size_t);

typedef struct gap {
    uint64_t first;
    uint64_t last;
    uint64_t count;
    uint64_t kinds;
    uint64_t first_height;
    uint64_t last_height;
    uint32_t reasons;
} gap;

typedef struct slot {
    uint64_t kinds; /* what it gets now; 0 once it has failed */
    on_broadcast call;
    void *instance;
    ss_host *host; /* NULL for a function and for a port */
    ss_port *port; /* NULL for what is called inline */
    /* A port that blocks: what it had no room for, and since when. */
    const uint8_t *waiting;
    size_t waiting_len;
    uint64_t waiting_kinds;
    uint64_t waiting_since;
    slipstream_delivery delivery;
    uint32_t id;
    uint32_t source;
    uint32_t flags;
    uint32_t until_sample;
    int dead_letter;
    uint64_t ordinal; /* the last one given out */
    gap pending;
    char **claims;
    size_t claim_count;
    _Atomic uint32_t state;
    _Atomic int32_t status;
    counter broadcast;
    counter delivered;
    counter failed;
    counter dropped;
    counter acknowledged;
    counter samples;
    counter total_ns;
    counter buckets[SS_TIME_BUCKETS];
} slot;

typedef struct buffer {
    uint8_t *data;
    size_t len;
    size_t room;
} buffer;

struct ss_core {
    ss_lock lock; /* the sequencer */
    ss_logq *log;
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
    bool may_wait;       /* whoever sends has let go of the interpreter lock */
    bool hurry;          /* it was interrupted: wait for nothing any more */
    bool (*interrupted)(void); /* asked now and then while waiting for room */
    ss_wall wall; /* guarded by the lock */
    buffer scratch;
    buffer deferred;
    pthread_mutex_t slots_lock; /* for `slots` and `count`; taken inside of `lock` */
    slot *slots[SLOTS_MAX];
};

/* ---- Forks ------------------------------------------------------------------------- */

/* A page that the kernel wipes in the child: 1 means that we are the one who made it. */
static volatile uint8_t *fork_mark;
static pid_t fork_pid;
static pthread_once_t fork_once = PTHREAD_ONCE_INIT;

static void make_fork_mark(void) {
    void *page = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    fork_pid = getpid();
    if (page == MAP_FAILED)
        return;
    if (madvise(page, 4096, MADV_WIPEONFORK) != 0) {
        munmap(page, 4096);
        return;
    }
    *(uint8_t *)page = 1;
    fork_mark = page;
}

bool ss_forked(void) {
    pthread_once(&fork_once, make_fork_mark);
    return fork_mark != NULL ? *fork_mark == 0 : getpid() != fork_pid;
}

/* ---- Slots ------------------------------------------------------------------------- */

static slot *find_slot(const ss_core *core, uint32_t id) {
    for (uint32_t i = 0; i < core->count; i++)
        if (core->slots[i]->id == id)
            return core->slots[i];
    return NULL;
}

static bool is_prompt(const slot *s) {
    return (s->flags & SLIPSTREAM_FLAG_PROMPT) != 0;
}

static void refresh_kinds(ss_core *core) {
    uint64_t kinds = 0;
    uint64_t slow = 0;
    uint64_t claimed = 0;
    for (uint32_t i = 0; i < core->count; i++) {
        const slot *s = core->slots[i];
        kinds |= s->kinds;
        if (!is_prompt(s))
            slow |= s->kinds | (s->claim_count > 0 ? SLIPSTREAM_KIND_BIT(SLIPSTREAM_KIND_PAYLOAD) : 0);
        claimed += s->claim_count;
    }
    /* Nobody broadcasts a GAP; its bit only says that somebody subscribes to anything. */
    kinds &= ~SLIPSTREAM_KIND_BIT(SLIPSTREAM_KIND_GAP);
    atomic_store_explicit(&core->kinds, kinds, memory_order_relaxed);
    atomic_store_explicit(&core->slow_kinds, slow, memory_order_relaxed);
    atomic_store_explicit(&core->claimed, claimed, memory_order_relaxed);
}

static void drop_claims(slot *s) {
    for (size_t i = 0; i < s->claim_count; i++)
        free(s->claims[i]);
    s->claim_count = 0;
}

static void free_slot(slot *s) {
    drop_claims(s);
    free(s->claims);
    free(s);
}

static uint64_t slot_acknowledged(const slot *s) {
    if (s->host != NULL && (s->flags & SLIPSTREAM_FLAG_EXPLICIT_ACK) != 0)
        return atomic_load_explicit(&s->host->acked, memory_order_relaxed);
    return read_counter(&s->acknowledged);
}

/* ---- Calling a plugin ---------------------------------------------------------------- */

static void sample(slot *s, uint64_t ns) {
    unsigned bucket = ns == 0 ? 0 : 64 - (unsigned)__builtin_clzll(ns);
    if (bucket >= SS_TIME_BUCKETS)
        bucket = SS_TIME_BUCKETS - 1;
    add(&s->buckets[bucket], 1);
    add(&s->samples, 1);
    add(&s->total_ns, ns);
}

static int32_t call_timed(slot *s, const uint8_t *frames, size_t len) {
    const uint64_t start = ss_ticks();
    const int32_t status = s->call(s->instance, &s->delivery, frames, len);
    sample(s, ss_ticks_to_ns(ss_ticks() - start));
    return status;
}

/* A call for a run, or a GAP, with the delivery as it stands. */
static int32_t call_slot(slot *s, const uint8_t *frames, size_t len) {
    if (s->host != NULL) {
        s->host->error_len = 0;
        atomic_store_explicit(&s->host->delivered,
                              s->delivery.first_ordinal + s->delivery.count - 1,
                              memory_order_release);
    }
    return call_timed(s, frames, len);
}

/* Around the calls of one piece to one slot: set_error belongs to calls in between. */
static inline void enter_slot(ss_core *core, const slot *s) {
    atomic_store_explicit(&core->busy, (int32_t)s->id, memory_order_relaxed);
    if (s->host != NULL)
        ss_host_enter(s->host, ss_self());
}

static inline void leave_slot(ss_core *core, const slot *s) {
    if (s->host != NULL)
        ss_host_leave(s->host);
    atomic_store_explicit(&core->busy, -1, memory_order_relaxed);
}

static void write_dead_letter(ss_core *core, slot *s, const uint8_t *frame, size_t len) {
    size_t done = 0;
    while (done < len) {
        const ssize_t n = write(s->dead_letter, frame + done, len - done);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0) {
            ss_logq_format(core->log, SLIPSTREAM_LOG_ERROR, s->source,
                           "cannot write to the dead-letter file: %s; the event is lost",
                           strerror(errno));
            return;
        }
        done += (size_t)n;
    }
}

/* FATAL and PANIC: the plugin gets nothing more. After a PANIC only destroy is called. */
static void give_up(ss_core *core, slot *s, int32_t status) {
    s->kinds = 0;
    atomic_store_explicit(&s->state, SS_SLOT_FAILED, memory_order_relaxed);
    if (status == SLIPSTREAM_PANIC && s->host != NULL)
        atomic_store_explicit(&s->host->life, SS_UNLOADED, memory_order_release);
    refresh_kinds(core);
}

/* What follows a call that failed, for `count` frames of `len` bytes of which the last
 * has the ordinal that was given out last. */
static void handle_failure(ss_core *core, slot *s, int32_t status, const uint8_t *frame,
                           size_t len, uint32_t count) {
    atomic_store_explicit(&s->status, status, memory_order_relaxed);
    ss_host_log_failure(core->log, s->source, s->host, status, frame, s->ordinal);
    add(&s->failed, count);
    if (status == SLIPSTREAM_FATAL || status == SLIPSTREAM_PANIC)
        give_up(core, s, status);
    if (s->dead_letter >= 0)
        write_dead_letter(core, s, frame, len);
}

static bool is_open_for_events(const slot *s) {
    return atomic_load_explicit(&s->state, memory_order_relaxed) == SS_SLOT_RUNNING;
}

/* A frame that the slot wants but may not get now. */
static void miss(slot *s, const uint8_t *frame, uint32_t reason) {
    const uint64_t height = slipstream_load_u64(frame + 40);
    gap *g = &s->pending;
    s->ordinal++;
    set(&s->broadcast, s->ordinal);
    if (g->count == 0) {
        g->first = s->ordinal;
        g->first_height = height;
    }
    g->last = s->ordinal;
    g->last_height = height;
    g->kinds |= SLIPSTREAM_KIND_BIT(slipstream_load_u16(frame + 6));
    g->reasons |= reason;
    g->count++;
    add(&s->dropped, 1);
}

/* Tells the slot of what it missed. The GAP has the ordinal of the last lost event. */
static void deliver_gap(ss_core *core, slot *s) {
    uint8_t frame[SLIPSTREAM_FRAME_HEADER_LEN + 56];
    const gap g = s->pending;
    if (g.count == 0)
        return;
    memset(&s->pending, 0, sizeof s->pending);
    const ss_draft draft = {.time_ns = (int64_t)ss_clock_ns(CLOCK_REALTIME),
                            .height = g.last_height,
                            .kind = SLIPSTREAM_KIND_GAP,
                            .reasons = g.reasons,
                            .numbers = {g.first, g.last, g.count, g.kinds, g.first_height,
                                        g.last_height}};
    ss_frame_write(frame, sizeof frame, &draft);
    ss_logq_format(core->log, SLIPSTREAM_LOG_WARN, s->source,
                   "%llu events were not delivered (ordinals %llu to %llu); the plugin is told by "
                   "a GAP",
                   (unsigned long long)g.count, (unsigned long long)g.first,
                   (unsigned long long)g.last);
    s->delivery.first_ordinal = g.last;
    enter_slot(core, s);
    const int32_t status = call_slot(s, frame, sizeof frame);
    if (status != SLIPSTREAM_OK && status != SLIPSTREAM_IGNORED)
        handle_failure(core, s, status, frame, sizeof frame, 1);
    if (status != SLIPSTREAM_FATAL && status != SLIPSTREAM_PANIC)
        set(&s->acknowledged, g.last);
    leave_slot(core, s);
}

static uint32_t missing_reason(const slot *s) {
    return atomic_load_explicit(&s->state, memory_order_relaxed) == SS_SLOT_RELOADING
               ? SLIPSTREAM_GAP_RELOAD
               : SLIPSTREAM_GAP_PAUSED;
}

/* Frames to a slot that is running, one by one. This is the hot loop: what cannot change
 * meanwhile is in locals, counters are written once. With `check` the frames come
 * unchecked; then it stops before the first that is not usual and stamped, or after the
 * first that failed. Returns how many bytes it went through, `calls` how many calls. */
static inline __attribute__((always_inline)) size_t stream_to(ss_core *core, slot *s,
                                                              const uint8_t *frames, size_t len,
                                                              const bool check, uint64_t *calls) {
    ss_host *const host = s->host;
    const on_broadcast call = s->call;
    void *const instance = s->instance;
    const bool explicit_ack = host != NULL && (s->flags & SLIPSTREAM_FLAG_EXPLICIT_ACK) != 0;
    const uint64_t before = s->ordinal;
    uint64_t kinds = s->kinds;
    uint64_t ordinal = before;
    uint64_t failed = 0;
    uint32_t until_sample = s->until_sample;
    size_t at = 0;
    while (at < len && (!check || (failed == 0 && ss_frame_is_usual(frames + at, len - at) &&
                                   ss_frame_is_stamped(frames + at)))) {
        const uint8_t *frame = frames + at;
        const size_t frame_len = slipstream_load_u32(frame);
        int32_t status;
        at += frame_len;
        if (!check && (kinds >> slipstream_load_u16(frame + 6) & 1) == 0)
            continue;
        s->delivery.first_ordinal = ++ordinal;
        if (host != NULL)
            host->error_len = 0; /* a text belongs to one call */
        if (explicit_ack)
            atomic_store_explicit(&host->delivered, ordinal, memory_order_release);
        if (until_sample-- > 0) {
            status = call(instance, &s->delivery, frame, frame_len);
        } else {
            status = call_timed(s, frame, frame_len);
            until_sample = SAMPLE_EVERY - 1;
        }
        if (status == SLIPSTREAM_OK || status == SLIPSTREAM_IGNORED)
            continue;
        failed++;
        s->ordinal = ordinal;
        handle_failure(core, s, status, frame, frame_len, 1);
        kinds = s->kinds;
    }
    s->until_sample = until_sample;
    s->ordinal = ordinal;
    add(&s->delivered, ordinal - before - failed);
    set(&s->broadcast, ordinal);
    set(&s->acknowledged, kinds != 0 ? ordinal : ordinal - 1);
    *calls = ordinal - before;
    return at;
}

static void deliver_singly(ss_core *core, slot *s, const uint8_t *frames, size_t len,
                           uint32_t attempt) {
    uint64_t calls;
    s->delivery.count = 1;
    s->delivery.attempt = attempt;
    stream_to(core, s, frames, len, false, &calls);
    s->delivery.attempt = 1;
}

/* A piece of a run to a slot that may not be called now. */
static void miss_piece(slot *s, const uint8_t *frames, size_t len) {
    for (size_t at = 0; at < len; at += slipstream_load_u32(frames + at))
        if ((s->kinds >> slipstream_load_u16(frames + at + 6) & 1) != 0)
            miss(s, frames + at, missing_reason(s));
}

/* `count` neighbouring frames, all wanted, to a slot that takes runs. */
static void deliver_run(ss_core *core, slot *s, const uint8_t *frames, size_t len,
                        uint32_t count) {
    s->delivery.count = count;
    s->delivery.first_ordinal = s->ordinal + 1;
    const int32_t status = call_slot(s, frames, len);
    s->delivery.count = 1;
    if (status == SLIPSTREAM_OK || status == SLIPSTREAM_IGNORED) {
        s->ordinal += count;
        set(&s->broadcast, s->ordinal);
        set(&s->acknowledged, s->ordinal);
        add(&s->delivered, count);
    } else if (count == 1 || status == SLIPSTREAM_FATAL || status == SLIPSTREAM_PANIC) {
        s->ordinal += count;
        set(&s->broadcast, s->ordinal);
        handle_failure(core, s, status, frames, len, count);
        if (status != SLIPSTREAM_FATAL && status != SLIPSTREAM_PANIC)
            set(&s->acknowledged, s->ordinal);
    } else {
        deliver_singly(core, s, frames, len, 2); /* it has undone the run: one by one */
    }
}

static void deliver_runs(ss_core *core, slot *s, const uint8_t *frames, size_t len) {
    size_t start = 0;
    uint32_t count = 0;
    size_t at = 0;
    while (at < len && s->kinds != 0) {
        const uint8_t *frame = frames + at;
        const size_t frame_len = slipstream_load_u32(frame);
        const bool wanted = (s->kinds >> slipstream_load_u16(frame + 6) & 1) != 0;
        if (wanted && count == 0)
            start = at;
        if (!wanted && count > 0) {
            deliver_run(core, s, frames + start, at - start, count);
            count = 0;
        }
        count += wanted;
        at += frame_len;
    }
    if (count > 0 && s->kinds != 0)
        deliver_run(core, s, frames + start, at - start, count);
}

bool ss_core_inside_callback(const ss_core *core) {
    return atomic_load_explicit(&core->busy, memory_order_relaxed) >= 0;
}

/* Those of the frames that are of these kinds into a port, as runs of neighbouring ones.
 * False if it has to wait for room; then *done says how far it got. */
static bool push(ss_core *core, const slot *s, uint64_t kinds, const uint8_t *frames, size_t len,
                 size_t *done) {
    const uint32_t too_large = s->port->too_large;
    bool all = true;
    while (all && *done < len) {
        const uint8_t *start = frames + *done;
        size_t run = 0;
        uint32_t count = 0;
        while (*done + run < len && (kinds >> slipstream_load_u16(start + run + 6) & 1) != 0) {
            run += slipstream_load_u32(start + run);
            count++;
        }
        if (count == 0) {
            *done += slipstream_load_u32(start); /* not wanted */
            continue;
        }
        const uint8_t *left = start;
        size_t left_len = run;
        all = ss_port_put(s->port, &left, &left_len, count);
        *done += all ? run : run - left_len;
    }
    core->too_large += s->port->too_large - too_large;
    return all;
}

/* What follows frames that wait lies right behind them, and has to wait, too. */
static void deliver_to_port(ss_core *core, slot *s, uint64_t kinds, const uint8_t *frames,
                            size_t len) {
    size_t done = 0;
    if (s->waiting != NULL) {
        s->waiting_len += len;
        return;
    }
    if (push(core, s, kinds, frames, len, &done))
        return;
    s->waiting = frames + done;
    s->waiting_len = len - done;
    s->waiting_kinds = kinds;
    s->waiting_since = 0;
    core->waiting++;
}

/* What could not wait any longer. */
static void lose_waiting(const ss_core *core, const slot *s, uint64_t waited_ns) {
    for (size_t at = 0, len; at < s->waiting_len; at += len) {
        const uint8_t *frame = s->waiting + at;
        len = slipstream_load_u32(frame);
        if ((s->waiting_kinds >> slipstream_load_u16(frame + 6) & 1) != 0)
            ss_port_give_up(s->port, frame, len, !core->hurry);
    }
    if (core->hurry && waited_ns == 0)
        return; /* said before, of what this call sent earlier */
    ss_logq_format(core->log, SLIPSTREAM_LOG_ERROR, s->source,
                   core->hurry ? "its ring was full for %.3g s when the broadcast was "
                                 "interrupted: events are lost"
                               : "its ring stayed full for %.3g s: stalled, events are lost "
                                 "until it is half empty",
                   (double)waited_ns / 1e9);
}

/* True if the slot need not wait any more: all is in, or lost. */
static bool try_waiting(ss_core *core, slot *s, uint64_t now) {
    size_t done = 0;
    if (push(core, s, s->waiting_kinds, s->waiting, s->waiting_len, &done))
        return true;
    s->waiting += done;
    s->waiting_len -= done;
    if (done > 0 || s->waiting_since == 0)
        s->waiting_since = now; /* the time counts for each event */
    if (!core->hurry && now - s->waiting_since < s->port->block_timeout_ms * UINT64_C(1000000))
        return false;
    lose_waiting(core, s, now - s->waiting_since);
    return true;
}

void ss_core_wait_for_room(ss_core *core) {
    uint64_t look = ss_clock_ns(CLOCK_MONOTONIC) + LOOK_EVERY_NS;
    struct timespec nap = {0, NAP_NS};
    while (core->waiting > 0) {
        const uint64_t now = ss_clock_ns(CLOCK_MONOTONIC);
        for (uint32_t i = 0; i < core->count; i++) {
            slot *s = core->slots[i];
            if (s->waiting == NULL)
                continue;
            /* What a signal handler sends is kept until later, as if it were a callback. */
            atomic_store_explicit(&core->busy, (int32_t)s->id, memory_order_relaxed);
            if (!try_waiting(core, s, now))
                continue;
            s->waiting = NULL;
            core->waiting--;
        }
        if (core->waiting == 0)
            break;
        if (now >= look) {
            core->hurry =
                core->hurry || (core->interrupted != NULL && core->interrupted());
            look = now + LOOK_EVERY_NS;
        }
        nanosleep(&nap, NULL);
        nap.tv_nsec = nap.tv_nsec < NAP_MAX_NS ? nap.tv_nsec * 2 : NAP_MAX_NS;
    }
    atomic_store_explicit(&core->busy, -1, memory_order_relaxed);
}

/* Not from a signal handler's call inside of such a wait. */
static void wait_if_allowed(ss_core *core) {
    if (core->waiting > 0 && core->may_wait && !ss_core_inside_callback(core))
        ss_core_wait_for_room(core);
}

static void deliver_to(ss_core *core, slot *s, const uint8_t *frames, size_t len) {
    if (s->port != NULL) {
        deliver_to_port(core, s, s->kinds, frames, len);
        return;
    }
    if (!is_open_for_events(s)) {
        miss_piece(s, frames, len);
        return;
    }
    enter_slot(core, s);
    if ((s->flags & SLIPSTREAM_FLAG_BATCH) != 0)
        deliver_runs(core, s, frames, len);
    else
        deliver_singly(core, s, frames, len, 1);
    leave_slot(core, s);
}

/* A piece of a run, stamped, to all slots. */
static void deliver_piece(ss_core *core, const uint8_t *frames, size_t len) {
    for (uint32_t i = 0; i < core->count; i++)
        if (core->slots[i]->kinds != 0)
            deliver_to(core, core->slots[i], frames, len);
}

/* ---- Sending ------------------------------------------------------------------------- */

static bool reserve(buffer *b, size_t room) {
    if (room <= b->room)
        return true;
    size_t wanted = b->room == 0 ? RUN_BYTES : b->room;
    while (wanted < room)
        wanted *= 2;
    uint8_t *data = realloc(b->data, wanted);
    if (data == NULL)
        return false;
    b->data = data;
    b->room = wanted;
    return true;
}

static void trim(buffer *b) {
    if (b->room > SCRATCH_KEPT) {
        free(b->data);
        memset(b, 0, sizeof *b);
    }
}

int32_t ss_core_check(const uint8_t *frames, size_t len, size_t limit, ss_sent *sent,
                      uint64_t *kinds, bool *stamped) {
    const size_t end = limit < len ? limit : len;
    int32_t status = SLIPSTREAM_OK;
    slipstream_frame frame;
    bool all_stamped = true;
    size_t at = 0;
    uint64_t count = 0;
    *kinds = 0;
    for (; at < end; count++) {
        if (ss_frame_is_usual(frames + at, len - at)) {
            *kinds |= SLIPSTREAM_KIND_BIT(SLIPSTREAM_KIND_MAPPING_UPDATE);
            all_stamped = all_stamped && ss_frame_is_stamped(frames + at);
            at += slipstream_load_u32(frames + at);
            continue;
        }
        status = ss_frame_check(frames + at, len - at, &frame);
        if (status == SLIPSTREAM_OK && (frame.kind == SLIPSTREAM_KIND_GAP ||
                                        (frame.stream == 0) != (frame.sequence == 0)))
            status = SLIPSTREAM_INVALID_ARGUMENT;
        if (status != SLIPSTREAM_OK)
            break;
        *kinds |= SLIPSTREAM_KIND_BIT(frame.kind);
        all_stamped = all_stamped && frame.stream != 0 && frame.time_ns != 0;
        at += frame.whole.len;
    }
    sent->offset += at;
    sent->index += count;
    *stamped = all_stamped;
    return status;
}

static void stamp(ss_core *core, uint8_t *frame, int64_t now) {
    if (ss_frame_is_stamped(frame))
        return;
    const uint64_t stream = ss_load_word(frame + 16);
    const int64_t time_ns = (int64_t)ss_load_word(frame + 32);
    ss_frame_stamp(frame, stream != 0 ? stream : core->stream,
                   stream != 0 ? ss_load_word(frame + 24) : ++core->sequence,
                   time_ns != 0 ? time_ns : now);
}

/* The end of the piece that starts at `at`: whole frames, about RUN_BYTES of them. */
static size_t piece_end(const uint8_t *frames, size_t len, size_t at) {
    const size_t limit = at + RUN_BYTES;
    do
        at += slipstream_load_u32(frames + at);
    while (at < len && at + slipstream_load_u32(frames + at) <= limit);
    return at;
}

static int32_t defer(ss_core *core, const uint8_t *frames, size_t len) {
    if (!reserve(&core->deferred, core->deferred.len + len))
        return SLIPSTREAM_NO_MEMORY;
    uint8_t *copy = core->deferred.data + core->deferred.len;
    memcpy(copy, frames, len);
    core->deferred.len += len;
    /* Among what is kept the flag says that a frame goes to its claimant alone. */
    for (size_t at = 0; at < len; at += slipstream_load_u32(copy + at))
        copy[at + 8] &= (uint8_t)~SLIPSTREAM_FRAME_ROUTED;
    return SLIPSTREAM_OK;
}

static void stamp_all(ss_core *core, uint8_t *frames, size_t len) {
    const int64_t now = ss_wall_now(&core->wall);
    for (size_t at = 0; at < len; at += slipstream_load_u32(frames + at))
        stamp(core, frames + at, now);
}

void ss_core_put_own(ss_core *core, uint8_t *frames, size_t len, bool stamped) {
    if (!stamped)
        stamp_all(core, frames, len);
    for (size_t at = 0, end; at < len; at = end) {
        end = piece_end(frames, len, at);
        deliver_piece(core, frames + at, end - at);
    }
    wait_if_allowed(core); /* first to every ring that has room, then the waiting */
}

/* Where a single plugin gets single frames, checking and calling go in one pass. */
static void put_directly(ss_core *core, const uint8_t *frames, size_t len, ss_sent *sent) {
    slot *s = core->count == 1 ? core->slots[0] : NULL;
    uint64_t calls = 0;
    if (len - sent->offset < SLIPSTREAM_FRAME_HEADER_LEN ||
        !ss_frame_is_stamped(frames + sent->offset))
        return;
    if (s == NULL || s->port != NULL || !is_open_for_events(s) ||
        (s->flags & SLIPSTREAM_FLAG_BATCH) != 0 ||
        (s->kinds & SLIPSTREAM_KIND_BIT(SLIPSTREAM_KIND_MAPPING_UPDATE)) == 0 ||
        ss_core_inside_callback(core))
        return;
    enter_slot(core, s);
    sent->offset +=
        stream_to(core, s, frames + sent->offset, len - sent->offset, true, &calls);
    leave_slot(core, s);
    sent->index += calls;
}

/* Room for an event of this kind in the ring of the only plugin that wants it, to be written
 * there and committed to *port at once. NULL: it is not so simple. */
static uint8_t *reserve_in_ring(ss_core *core, uint64_t kind_bit, size_t len, ss_port **port) {
    slot *found = NULL;
    if (ss_core_inside_callback(core))
        return NULL;
    for (uint32_t i = 0; i < core->count; i++) {
        slot *s = core->slots[i];
        if ((s->kinds & kind_bit) == 0)
            continue;
        if (found != NULL || s->port == NULL || s->waiting != NULL)
            return NULL;
        found = s;
    }
    if (found == NULL)
        return NULL;
    *port = found->port;
    return ss_port_reserve(found->port, len);
}

/* A single frame that goes into a single ring is stamped there. */
static bool put_into_ring(ss_core *core, const uint8_t *frame, size_t len, ss_sent *sent) {
    ss_port *port;
    if (!ss_frame_is_usual(frame, len) || slipstream_load_u32(frame) != len)
        return false;
    uint8_t *place = reserve_in_ring(
        core, SLIPSTREAM_KIND_BIT(SLIPSTREAM_KIND_MAPPING_UPDATE), len, &port);
    if (place == NULL)
        return false;
    memcpy(place, frame, len);
    stamp(core, place, ss_wall_now(&core->wall));
    ss_port_commit(port, len);
    sent->index = 1;
    sent->offset = len;
    return true;
}

int32_t ss_core_put_frames(ss_core *core, const uint8_t *frames, size_t len, ss_sent *sent) {
    if (put_into_ring(core, frames, len, sent))
        return SLIPSTREAM_OK;
    memset(sent, 0, sizeof *sent);
    for (;;) {
        put_directly(core, frames, len, sent);
        if (sent->offset == len)
            break;
        const uint8_t *piece = frames + sent->offset;
        const ss_sent before = *sent;
        uint64_t kinds;
        bool stamped;
        int32_t status = ss_core_check(piece, len - sent->offset, RUN_BYTES, sent, &kinds,
                                       &stamped);
        const size_t good = sent->offset - before.offset;
        if (ss_core_inside_callback(core)) {
            const int32_t kept = defer(core, piece, good);
            status = kept != SLIPSTREAM_OK ? kept : status;
        } else if (stamped || (kinds & ss_core_kinds(core)) == 0) {
            deliver_piece(core, piece, good);
        } else if (!reserve(&core->scratch, good)) {
            status = SLIPSTREAM_NO_MEMORY;
        } else {
            wait_if_allowed(core); /* the buffer is used again */
            memcpy(core->scratch.data, piece, good);
            stamp_all(core, core->scratch.data, good);
            deliver_piece(core, core->scratch.data, good);
            wait_if_allowed(core);
        }
        if (status == SLIPSTREAM_NO_MEMORY)
            *sent = before;
        if (status != SLIPSTREAM_OK) {
            wait_if_allowed(core);
            return status;
        }
    }
    wait_if_allowed(core);
    return SLIPSTREAM_OK;
}

int32_t ss_core_put_draft(ss_core *core, ss_draft *draft) {
    const size_t size = ss_frame_size(draft);
    if (size == 0)
        return SLIPSTREAM_TOO_LARGE;
    ss_port *port;
    uint8_t *place = reserve_in_ring(core, SLIPSTREAM_KIND_BIT(draft->kind), size, &port);
    buffer *b = ss_core_inside_callback(core) ? &core->deferred : &core->scratch;
    if (place == NULL && !reserve(b, b->len + size))
        return SLIPSTREAM_NO_MEMORY;
    if (b == &core->deferred) {
        ss_frame_write(b->data + b->len, size, draft);
        b->len += size;
        return SLIPSTREAM_OK;
    }
    if (draft->stream == 0) {
        draft->stream = core->stream;
        draft->sequence = ++core->sequence;
    }
    if (draft->time_ns == 0)
        draft->time_ns = ss_wall_now(&core->wall);
    if (place != NULL) {
        ss_frame_write(place, size, draft);
        ss_port_commit(port, size);
        return SLIPSTREAM_OK;
    }
    ss_frame_write(b->data, size, draft);
    deliver_piece(core, b->data, size);
    wait_if_allowed(core);
    return SLIPSTREAM_OK;
}

static slot *claimant(const ss_core *core, const slipstream_bytes *name) {
    for (uint32_t i = 0; i < core->count; i++) {
        slot *s = core->slots[i];
        for (size_t k = 0; k < s->claim_count; k++)
            if (strlen(s->claims[k]) == name->len &&
                memcmp(s->claims[k], name->data, name->len) == 0)
                return s;
    }
    return NULL;
}

/* A frame that is routed: to its claimant alone. */
static int32_t route_frame(ss_core *core, uint8_t *frame, size_t len) {
    slipstream_frame view;
    slipstream_payload payload;
    if (slipstream_read_frame(frame, len, &view) != SLIPSTREAM_OK ||
        slipstream_read_payload(&view, &payload) != SLIPSTREAM_OK)
        return SLIPSTREAM_MALFORMED;
    slot *s = claimant(core, &payload.name);
    if (s == NULL || atomic_load_explicit(&s->state, memory_order_relaxed) == SS_SLOT_FAILED)
        return SLIPSTREAM_NOT_FOUND;
    stamp(core, frame, ss_wall_now(&core->wall));
    if (!is_open_for_events(s)) {
        miss(s, frame, missing_reason(s));
        return SLIPSTREAM_OK;
    }
    const uint64_t kinds = s->kinds; /* it need not subscribe to what it claims */
    if (s->port != NULL) {
        deliver_to_port(core, s, SLIPSTREAM_KIND_BIT(SLIPSTREAM_KIND_PAYLOAD), frame, len);
        wait_if_allowed(core);
        return SLIPSTREAM_OK;
    }
    s->kinds |= SLIPSTREAM_KIND_BIT(SLIPSTREAM_KIND_PAYLOAD);
    deliver_to(core, s, frame, len);
    if (s->kinds != 0)
        s->kinds = kinds;
    return SLIPSTREAM_OK;
}

int32_t ss_core_route(ss_core *core, ss_draft *draft) {
    draft->flags |= SLIPSTREAM_FRAME_ROUTED;
    if (ss_core_inside_callback(core))
        return claimant(core, &draft->spans[1]) == NULL ? SLIPSTREAM_NOT_FOUND
                                                        : ss_core_put_draft(core, draft);
    const size_t size = ss_frame_size(draft);
    if (size == 0)
        return SLIPSTREAM_TOO_LARGE;
    if (!reserve(&core->scratch, size))
        return SLIPSTREAM_NO_MEMORY;
    ss_frame_write(core->scratch.data, size, draft);
    return route_frame(core, core->scratch.data, size);
}

/* What callbacks sent while the outer call was under way, in the order in which they did. */
static void send_deferred(ss_core *core) {
    while (core->deferred.len > 0) {
        buffer taken = core->deferred;
        memset(&core->deferred, 0, sizeof core->deferred);
        for (size_t at = 0, len; at < taken.len; at += len) {
            uint8_t *frame = taken.data + at;
            len = slipstream_load_u32(frame);
            if ((slipstream_load_u32(frame + 8) & SLIPSTREAM_FRAME_ROUTED) != 0)
                route_frame(core, frame, len);
            else
                ss_core_put_own(core, frame, len, false);
        }
        free(taken.data);
    }
}

/* ---- The sequencer ------------------------------------------------------------------- */

bool ss_core_is_open(const ss_core *core) {
    return atomic_load_explicit(&core->closed, memory_order_acquire) == 0 && !ss_forked();
}

bool ss_core_inside(const ss_core *core) {
    return ss_lock_is_mine(&core->lock);
}

bool ss_core_try_enter(ss_core *core) {
    return ss_lock_try(&core->lock);
}

int32_t ss_core_enter(ss_core *core, uint32_t ms) {
    if (!ss_core_is_open(core) || ss_core_inside(core))
        return SLIPSTREAM_WRONG_STATE;
    if (!ss_lock_wait(&core->lock, ms))
        return SLIPSTREAM_TIMEOUT;
    ss_core_may_wait(core, NULL); /* whoever waits for the sequencer holds no other lock */
    if (ss_core_is_open(core))
        return SLIPSTREAM_OK;
    ss_lock_release(&core->lock);
    return SLIPSTREAM_WRONG_STATE;
}

bool ss_core_has_more(const ss_core *core) {
    return core->waiting > 0 || core->deferred.len > 0;
}

void ss_core_may_wait(ss_core *core, bool (*interrupted)(void)) {
    core->may_wait = true;
    core->hurry = false;
    core->interrupted = interrupted;
}

int32_t ss_core_leave(ss_core *core) {
    if (core->waiting > 0)
        ss_core_wait_for_room(core);
    if (core->deferred.len > 0)
        send_deferred(core);
    const int32_t status = core->too_large > 0 ? SLIPSTREAM_TOO_LARGE : SLIPSTREAM_OK;
    core->too_large = 0;
    core->may_wait = false;
    trim(&core->scratch);
    ss_lock_release(&core->lock);
    return status;
}

uint64_t ss_core_kinds(const ss_core *core) {
    return atomic_load_explicit(&core->kinds, memory_order_relaxed);
}

uint64_t ss_core_slow_kinds(const ss_core *core) {
    return atomic_load_explicit(&core->slow_kinds, memory_order_relaxed);
}

uint64_t ss_core_claimed(const ss_core *core) {
    return atomic_load_explicit(&core->claimed, memory_order_relaxed);
}

int32_t ss_core_busy_slot(const ss_core *core) {
    return atomic_load_explicit(&core->busy, memory_order_relaxed);
}

/* ---- Calls from outside ---------------------------------------------------------------- */

enum { SEND_WAIT_MS = 30000 };

int32_t ss_core_send(ss_core *core, const uint8_t *frames, size_t len, ss_sent *sent) {
    int32_t status = ss_core_enter(core, SEND_WAIT_MS);
    if (status != SLIPSTREAM_OK)
        return status;
    status = ss_core_put_frames(core, frames, len, sent);
    const int32_t left = ss_core_leave(core);
    return status != SLIPSTREAM_OK ? status : left;
}

int32_t ss_core_mapping_update(ss_core *core, const uint8_t *program_id, size_t program_id_len,
                               const uint8_t *mapping_name, size_t mapping_name_len,
                               const uint8_t *key, size_t key_len, const uint8_t *value,
                               size_t value_len, uint64_t height) {
    ss_draft draft = {.kind = SLIPSTREAM_KIND_MAPPING_UPDATE,
                      .height = height,
                      .spans = {{program_id, program_id_len},
                                {mapping_name, mapping_name_len},
                                {key, key_len},
                                {value, value_len}}};
    int32_t status = ss_core_enter(core, SEND_WAIT_MS);
    if (status != SLIPSTREAM_OK)
        return status;
    status = ss_core_put_draft(core, &draft);
    const int32_t left = ss_core_leave(core);
    return status != SLIPSTREAM_OK ? status : left;
}

/* ---- Life ------------------------------------------------------------------------------ */

ss_core *ss_core_new(ss_logq *log, uint64_t stream) {
    ss_core *core = calloc(1, sizeof *core);
    if (core == NULL)
        return NULL;
    ss_ticks_start();
    ss_forked(); /* makes the mark before anybody can fork */
    ss_logq_retain(log);
    core->log = log;
    core->stream = stream;
    core->references = 1;
    core->busy = -1;
    pthread_mutex_init(&core->slots_lock, NULL);
    return core;
}

void ss_core_retain(ss_core *core) {
    atomic_fetch_add_explicit(&core->references, 1, memory_order_relaxed);
}

void ss_core_release(ss_core *core) {
    if (atomic_fetch_sub_explicit(&core->references, 1, memory_order_acq_rel) != 1)
        return;
    for (uint32_t i = 0; i < core->count; i++)
        free_slot(core->slots[i]);
    pthread_mutex_destroy(&core->slots_lock);
    ss_logq_release(core->log);
    free(core->scratch.data);
    free(core->deferred.data);
    free(core);
}

int32_t ss_core_close(ss_core *core, uint32_t ms) {
    const int32_t status = ss_core_enter(core, ms);
    if (status != SLIPSTREAM_OK)
        return status;
    atomic_store_explicit(&core->closed, 1, memory_order_release);
    atomic_store_explicit(&core->kinds, 0, memory_order_relaxed);
    ss_core_leave(core);
    return SLIPSTREAM_OK;
}

static bool add_claim(slot *s, const char *name) {
    char **claims = realloc(s->claims, (s->claim_count + 1) * sizeof *claims);
    if (claims == NULL)
        return false;
    s->claims = claims;
    claims[s->claim_count] = strdup(name);
    if (claims[s->claim_count] == NULL)
        return false;
    s->claim_count++;
    return true;
}

/* Fills the slot from an instance; ordinals and counters stay. */
static bool take_instance(slot *s, ss_instance *instance) {
    const slipstream_plugin *table = ss_instance_table(instance);
    ss_instance_info info;
    ss_instance_describe(instance, &info);
    drop_claims(s);
    const char *claim;
    for (uint32_t i = 0; (claim = ss_instance_claim(instance, i)) != NULL; i++)
        if (!add_claim(s, claim))
            return false;
    s->kinds = info.kinds;
    s->call = table->on_broadcast;
    s->instance = table->instance;
    s->host = ss_instance_host(instance);
    s->source = s->host->source;
    s->flags = table->flags;
    atomic_store_explicit(&s->host->delivered, s->ordinal, memory_order_relaxed);
    atomic_store_explicit(&s->host->acked, read_counter(&s->acknowledged), memory_order_relaxed);
    return true;
}

static slot *new_slot(ss_core *core) {
    slot *s = calloc(1, sizeof *s);
    if (s == NULL)
        return NULL;
    s->delivery.struct_size = sizeof s->delivery;
    s->delivery.attempt = 1;
    s->delivery.count = 1;
    s->dead_letter = -1;
    s->id = core->next_id++;
    return s;
}

/* Adds a slot; the sequencer is held. Frees it when there is no place. */
static int32_t append(ss_core *core, slot *s, uint32_t *id) {
    if (core->count == SLOTS_MAX) {
        free_slot(s);
        return SLIPSTREAM_TOO_LARGE;
    }
    *id = s->id;
    pthread_mutex_lock(&core->slots_lock);
    core->slots[core->count++] = s;
    pthread_mutex_unlock(&core->slots_lock);
    refresh_kinds(core);
    return SLIPSTREAM_OK;
}

int32_t ss_core_attach(ss_core *core, ss_instance *instance, uint32_t ms, uint32_t *id) {
    int32_t status = ss_core_enter(core, ms);
    if (status != SLIPSTREAM_OK)
        return status;
    slot *s = new_slot(core);
    if (s != NULL && !take_instance(s, instance)) {
        free_slot(s);
        s = NULL;
    }
    status = s == NULL ? SLIPSTREAM_NO_MEMORY : append(core, s, id);
    ss_core_leave(core);
    return status;
}

int32_t ss_core_attach_function(ss_core *core, uint64_t kinds, void *context, uint32_t source,
                                on_broadcast function, uint32_t ms, uint32_t *id) {
    int32_t status = ss_core_enter(core, ms);
    if (status != SLIPSTREAM_OK)
        return status;
    slot *s = new_slot(core);
    if (s != NULL) {
        s->kinds = kinds == 0 ? 0 : kinds | SLIPSTREAM_KIND_BIT(SLIPSTREAM_KIND_GAP);
        s->call = function;
        s->instance = context;
        s->source = source;
        s->flags = SLIPSTREAM_FLAG_PROMPT; /* it needs the interpreter lock: keep it */
    }
    status = s == NULL ? SLIPSTREAM_NO_MEMORY : append(core, s, id);
    ss_core_leave(core);
    return status;
}

int32_t ss_core_attach_port(ss_core *core, ss_port *port, uint64_t kinds, uint32_t source,
                            uint32_t ms, uint32_t *id) {
    int32_t status = ss_core_enter(core, ms);
    if (status != SLIPSTREAM_OK)
        return status;
    slot *s = new_slot(core);
    if (s != NULL) {
        s->kinds = kinds;
        s->port = port;
        s->source = source;
        s->flags = SLIPSTREAM_FLAG_PROMPT; /* putting into a ring is */
    }
    status = s == NULL ? SLIPSTREAM_NO_MEMORY : append(core, s, id);
    ss_core_leave(core);
    return status;
}

int32_t ss_core_renew_port(ss_core *core, uint32_t id, uint64_t kinds, uint32_t source,
                           const char *const *claims, size_t claim_count, uint32_t ms) {
    int32_t status = ss_core_enter(core, ms);
    if (status != SLIPSTREAM_OK)
        return status;
    slot *s = find_slot(core, id);
    if (s == NULL) {
        status = SLIPSTREAM_NOT_FOUND;
    } else {
        s->kinds = kinds;
        s->source = source;
        drop_claims(s);
        for (size_t i = 0; i < claim_count && status == SLIPSTREAM_OK; i++)
            status = add_claim(s, claims[i]) ? SLIPSTREAM_OK : SLIPSTREAM_NO_MEMORY;
        refresh_kinds(core);
    }
    ss_core_leave(core);
    return status;
}

static void describe(const slot *s, ss_stats *out) {
    out->state = atomic_load_explicit(&s->state, memory_order_relaxed);
    out->status = atomic_load_explicit(&s->status, memory_order_relaxed);
    out->broadcast = read_counter(&s->broadcast);
    out->delivered = read_counter(&s->delivered);
    out->failed = read_counter(&s->failed);
    out->dropped = read_counter(&s->dropped);
    out->acknowledged = slot_acknowledged(s);
    if (out->broadcast < out->acknowledged) /* written last, once for each piece */
        out->broadcast = out->acknowledged;
    out->samples = read_counter(&s->samples);
    out->total_ns = read_counter(&s->total_ns);
    for (unsigned i = 0; i < SS_TIME_BUCKETS; i++)
        out->buckets[i] = read_counter(&s->buckets[i]);
}

int32_t ss_core_detach(ss_core *core, uint32_t id, uint32_t ms, ss_stats *last) {
    int32_t status = ss_core_enter(core, ms);
    if (status != SLIPSTREAM_OK)
        return status;
    slot *s = find_slot(core, id);
    if (s == NULL) {
        status = SLIPSTREAM_NOT_FOUND;
    } else {
        if (s->pending.count > 0)
            ss_logq_format(core->log, SLIPSTREAM_LOG_WARN, s->source,
                           "unloaded before it could be told of %llu events that it missed "
                           "(ordinals %llu to %llu)",
                           (unsigned long long)s->pending.count,
                           (unsigned long long)s->pending.first,
                           (unsigned long long)s->pending.last);
        describe(s, last);
        pthread_mutex_lock(&core->slots_lock);
        uint32_t to = 0;
        for (uint32_t i = 0; i < core->count; i++)
            if (core->slots[i] != s)
                core->slots[to++] = core->slots[i];
        core->count = to;
        pthread_mutex_unlock(&core->slots_lock);
        free_slot(s);
        refresh_kinds(core);
    }
    ss_core_leave(core);
    return status;
}

int32_t ss_core_replace(ss_core *core, uint32_t id, ss_instance *instance, uint32_t ms) {
    int32_t status = ss_core_enter(core, ms);
    if (status != SLIPSTREAM_OK)
        return status;
    slot *s = find_slot(core, id);
    if (s == NULL) {
        status = SLIPSTREAM_NOT_FOUND;
    } else {
        pthread_mutex_lock(&core->slots_lock); /* ss_core_stats looks into the host */
        set(&s->acknowledged, slot_acknowledged(s));
        status = take_instance(s, instance) ? SLIPSTREAM_OK : SLIPSTREAM_NO_MEMORY;
        pthread_mutex_unlock(&core->slots_lock);
        refresh_kinds(core);
    }
    ss_core_leave(core);
    return status;
}

int32_t ss_core_set_state(ss_core *core, uint32_t id, uint32_t state, uint32_t ms) {
    int32_t status = ss_core_enter(core, ms);
    if (status != SLIPSTREAM_OK)
        return status;
    slot *s = find_slot(core, id);
    if (s == NULL) {
        status = SLIPSTREAM_NOT_FOUND;
    } else {
        atomic_store_explicit(&s->state, state, memory_order_relaxed);
        if (state == SS_SLOT_RUNNING) {
            deliver_gap(core, s);
        } else if (state == SS_SLOT_FAILED) {
            s->kinds = 0;
            refresh_kinds(core);
        }
    }
    ss_core_leave(core);
    return status;
}

int32_t ss_core_hold(ss_core *core, uint32_t id, uint32_t ms) {
    const int32_t status = ss_core_enter(core, ms);
    if (status == SLIPSTREAM_OK)
        atomic_store_explicit(&core->busy, (int32_t)id, memory_order_relaxed);
    return status;
}

void ss_core_unhold(ss_core *core, bool stuck) {
    slot *s = stuck ? find_slot(core, (uint32_t)ss_core_busy_slot(core)) : NULL;
    if (s != NULL && is_open_for_events(s))
        atomic_store_explicit(&s->state, SS_SLOT_PAUSED, memory_order_relaxed);
    atomic_store_explicit(&core->busy, -1, memory_order_relaxed);
    ss_core_leave(core);
}

int32_t ss_core_set_dead_letter(ss_core *core, uint32_t id, int fd, uint32_t ms) {
    int32_t status = ss_core_enter(core, ms);
    if (status != SLIPSTREAM_OK)
        return status;
    slot *s = find_slot(core, id);
    if (s == NULL)
        status = SLIPSTREAM_NOT_FOUND;
    else
        s->dead_letter = fd;
    ss_core_leave(core);
    return status;
}

int32_t ss_core_claim(ss_core *core, uint32_t id, const char *name, uint32_t ms) {
    int32_t status = ss_core_enter(core, ms);
    if (status != SLIPSTREAM_OK)
        return status;
    slot *s = find_slot(core, id);
    if (s == NULL)
        status = SLIPSTREAM_NOT_FOUND;
    else if (!add_claim(s, name))
        status = SLIPSTREAM_NO_MEMORY;
    refresh_kinds(core);
    ss_core_leave(core);
    return status;
}

int32_t ss_core_stats(ss_core *core, uint32_t id, ss_stats *out) {
    memset(out, 0, sizeof *out);
    pthread_mutex_lock(&core->slots_lock);
    const slot *s = find_slot(core, id);
    if (s != NULL)
        describe(s, out);
    pthread_mutex_unlock(&core->slots_lock);
    return s == NULL ? SLIPSTREAM_NOT_FOUND : SLIPSTREAM_OK;
}
