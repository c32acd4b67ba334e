#include "dispatch.h"

#include "lock.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

enum {
    SLOTS_MAX = 256,
    RUN_BYTES = 64 * 1024,     /* a longer run is handed over in pieces of this size */
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
    ss_host *host; /* NULL for a function */
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

static void free_slot(slot *s) {
    for (size_t i = 0; i < s->claim_count; i++)
        free(s->claims[i]);
    free(s->claims);
    free(s);
}

static uint64_t slot_acknowledged(const slot *s) {
    if (s->host != NULL && (s->flags & SLIPSTREAM_FLAG_EXPLICIT_ACK) != 0)
        return atomic_load_explicit(&s->host->acked, memory_order_relaxed);
    return read_counter(&s->acknowledged);
}

/* ---- Calling a plugin ---------------------------------------------------------------- */

static int64_t now_ns(clockid_t clock) {
    struct timespec now;
    clock_gettime(clock, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

static void sample(slot *s, uint64_t ns) {
    unsigned bucket = ns == 0 ? 0 : 64 - (unsigned)__builtin_clzll(ns);
    if (bucket >= SS_TIME_BUCKETS)
        bucket = SS_TIME_BUCKETS - 1;
    add(&s->buckets[bucket], 1);
    add(&s->samples, 1);
    add(&s->total_ns, ns);
}

/* One call of on_broadcast; the ordinals are the caller's business. */
static int32_t call_slot(slot *s, const uint8_t *frames, size_t len) {
    int64_t start = 0;
    const bool timed = s->until_sample == 0;
    if (timed)
        start = now_ns(CLOCK_MONOTONIC);
    if (s->host != NULL) {
        atomic_store_explicit(&s->host->delivered,
                              s->delivery.first_ordinal + s->delivery.count - 1,
                              memory_order_release);
        ss_host_enter(s->host, (uintptr_t)pthread_self());
    }
    const int32_t status = s->call(s->instance, &s->delivery, frames, len);
    if (s->host != NULL)
        ss_host_leave(s->host);
    if (timed) {
        sample(s, (uint64_t)(now_ns(CLOCK_MONOTONIC) - start));
        s->until_sample = SAMPLE_EVERY;
    }
    s->until_sample--;
    return status;
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

/* What follows a call that was not OK, for `count` frames of `len` bytes; `ordinal` is the
 * last one's. */
static void handle_status(ss_core *core, slot *s, int32_t status, const uint8_t *frame, size_t len,
                          uint64_t ordinal, uint32_t count) {
    static const char *const kind_names[] = {"MAPPING_UPDATE", "MAPPING_REMOVAL", "STAKING_REWARD",
                                             "BLOCK",          "PAYLOAD",         "GAP"};
    char text[2 * SLIPSTREAM_ERROR_MAX] = "";
    const uint32_t kind = slipstream_load_u16(frame + 6);
    const bool fatal = status == SLIPSTREAM_FATAL || status == SLIPSTREAM_PANIC;
    if (status == SLIPSTREAM_IGNORED) {
        add(&s->delivered, count);
        set(&s->acknowledged, ordinal);
        return;
    }
    atomic_store_explicit(&s->status, status, memory_order_relaxed);
    if (s->host != NULL)
        ss_host_error(s->host, text, sizeof text);
    if (status > 0 || status < SLIPSTREAM_PANIC)
        ss_logq_format(core->log, SLIPSTREAM_LOG_PLUGIN_MISBEHAVING, s->source,
                       "on_broadcast returned %d, which is no status of this contract",
                       (int)status);
    ss_logq_format(core->log, SLIPSTREAM_LOG_ERROR, s->source,
                   "on_broadcast returned %s (%d) for %s, ordinal %llu, sequence %llu%s%s%s",
                   ss_status_name(status), (int)status, kind < 6 ? kind_names[kind] : "an event",
                   (unsigned long long)ordinal,
                   (unsigned long long)slipstream_load_u64(frame + 24), text[0] ? ": " : "", text,
                   fatal ? "; the plugin gets nothing more" : "");
    add(&s->failed, count);
    if (fatal)
        give_up(core, s, status);
    else
        set(&s->acknowledged, ordinal);
    if (s->dead_letter >= 0)
        write_dead_letter(core, s, frame, len);
}

static bool is_open_for_events(const slot *s) {
    return atomic_load_explicit(&s->state, memory_order_relaxed) == SS_SLOT_RUNNING;
}

/* One frame to one slot; the slot is running and wants it. */
static inline void deliver(ss_core *core, slot *s, const uint8_t *frame, size_t len) {
    const uint64_t ordinal = ++s->ordinal;
    s->delivery.first_ordinal = ordinal;
    set(&s->broadcast, ordinal);
    const int32_t status = call_slot(s, frame, len);
    if (status == SLIPSTREAM_OK) {
        add(&s->delivered, 1);
        set(&s->acknowledged, ordinal);
    } else {
        handle_status(core, s, status, frame, len, ordinal, 1);
    }
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
    const ss_draft draft = {.time_ns = now_ns(CLOCK_REALTIME),
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
    const int32_t status = call_slot(s, frame, sizeof frame);
    if (status == SLIPSTREAM_OK || status == SLIPSTREAM_IGNORED)
        set(&s->acknowledged, g.last);
    else
        handle_status(core, s, status, frame, sizeof frame, g.last, 1);
}

static uint32_t missing_reason(const slot *s) {
    return atomic_load_explicit(&s->state, memory_order_relaxed) == SS_SLOT_RELOADING
               ? SLIPSTREAM_GAP_RELOAD
               : SLIPSTREAM_GAP_PAUSED;
}

/* A piece of a run to a slot that takes single frames. */
static void deliver_singly(ss_core *core, slot *s, const uint8_t *frames, size_t len,
                           uint32_t attempt) {
    s->delivery.count = 1;
    s->delivery.attempt = attempt;
    for (size_t at = 0, frame_len; at < len; at += frame_len) {
        const uint8_t *frame = frames + at;
        frame_len = slipstream_load_u32(frame);
        if ((s->kinds >> slipstream_load_u16(frame + 6) & 1) == 0)
            continue;
        if (is_open_for_events(s))
            deliver(core, s, frame, frame_len);
        else
            miss(s, frame, missing_reason(s));
    }
    s->delivery.attempt = 1;
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
        handle_status(core, s, status, frames, len, s->ordinal, count);
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

/* A piece of a run, stamped, to all slots. */
static void deliver_piece(ss_core *core, const uint8_t *frames, size_t len) {
    for (uint32_t i = 0; i < core->count; i++) {
        slot *s = core->slots[i];
        if (s->kinds == 0)
            continue;
        atomic_store_explicit(&core->busy, (int32_t)s->id, memory_order_relaxed);
        if ((s->flags & SLIPSTREAM_FLAG_BATCH) != 0 && is_open_for_events(s))
            deliver_runs(core, s, frames, len);
        else
            deliver_singly(core, s, frames, len, 1);
    }
    atomic_store_explicit(&core->busy, -1, memory_order_relaxed);
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

static bool is_stamped(const uint8_t *frame) {
    return slipstream_load_u64(frame + 16) != 0 && slipstream_load_u64(frame + 32) != 0;
}

int32_t ss_core_check(const uint8_t *frames, size_t len, ss_sent *sent, uint64_t *kinds,
                      bool *stamped) {
    slipstream_frame frame;
    memset(sent, 0, sizeof *sent);
    *kinds = 0;
    *stamped = true;
    while (sent->offset < len) {
        const uint8_t *at = frames + sent->offset;
        const int32_t status = ss_frame_check(at, len - sent->offset, &frame);
        if (status != SLIPSTREAM_OK)
            return status;
        if (frame.kind == SLIPSTREAM_KIND_GAP || (frame.stream == 0) != (frame.sequence == 0))
            return SLIPSTREAM_INVALID_ARGUMENT;
        *kinds |= SLIPSTREAM_KIND_BIT(frame.kind);
        *stamped = *stamped && frame.stream != 0 && frame.time_ns != 0;
        sent->offset += frame.whole.len;
        sent->index++;
    }
    sent->events = sent->index;
    return SLIPSTREAM_OK;
}

static void stamp(ss_core *core, uint8_t *frame, int64_t now) {
    if (is_stamped(frame))
        return;
    const uint64_t stream = slipstream_load_u64(frame + 16);
    const int64_t time_ns = (int64_t)slipstream_load_u64(frame + 32);
    ss_frame_stamp(frame, stream != 0 ? stream : core->stream,
                   stream != 0 ? slipstream_load_u64(frame + 24) : ++core->sequence,
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
    memcpy(core->deferred.data + core->deferred.len, frames, len);
    core->deferred.len += len;
    return SLIPSTREAM_OK;
}

static bool in_callback(const ss_core *core) {
    return atomic_load_explicit(&core->busy, memory_order_relaxed) >= 0;
}

int32_t ss_core_put_frames(ss_core *core, const uint8_t *frames, size_t len, bool stamped) {
    int64_t now = 0;
    if (in_callback(core))
        return defer(core, frames, len);
    for (size_t at = 0, end; at < len; at = end) {
        end = piece_end(frames, len, at);
        if (stamped) {
            deliver_piece(core, frames + at, end - at);
            continue;
        }
        if (!reserve(&core->scratch, end - at))
            return SLIPSTREAM_NO_MEMORY;
        if (now == 0)
            now = now_ns(CLOCK_REALTIME);
        uint8_t *copy = core->scratch.data;
        memcpy(copy, frames + at, end - at);
        for (size_t i = 0; i < end - at; i += slipstream_load_u32(copy + i))
            stamp(core, copy + i, now);
        deliver_piece(core, copy, end - at);
    }
    trim(&core->scratch);
    return SLIPSTREAM_OK;
}

int32_t ss_core_put_draft(ss_core *core, ss_draft *draft) {
    const size_t size = ss_frame_size(draft);
    if (size == 0)
        return SLIPSTREAM_TOO_LARGE;
    buffer *b = in_callback(core) ? &core->deferred : &core->scratch;
    if (!reserve(b, b->len + size))
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
        draft->time_ns = now_ns(CLOCK_REALTIME);
    ss_frame_write(b->data, size, draft);
    deliver_piece(core, b->data, size);
    trim(b);
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
    stamp(core, frame, now_ns(CLOCK_REALTIME));
    if (!is_open_for_events(s)) {
        miss(s, frame, missing_reason(s));
        return SLIPSTREAM_OK;
    }
    atomic_store_explicit(&core->busy, (int32_t)s->id, memory_order_relaxed);
    deliver(core, s, frame, len);
    atomic_store_explicit(&core->busy, -1, memory_order_relaxed);
    return SLIPSTREAM_OK;
}

int32_t ss_core_route(ss_core *core, ss_draft *draft) {
    draft->flags |= SLIPSTREAM_FRAME_ROUTED;
    if (in_callback(core))
        return claimant(core, &draft->spans[1]) == NULL ? SLIPSTREAM_NOT_FOUND
                                                        : ss_core_put_draft(core, draft);
    const size_t size = ss_frame_size(draft);
    if (size == 0)
        return SLIPSTREAM_TOO_LARGE;
    if (!reserve(&core->scratch, size))
        return SLIPSTREAM_NO_MEMORY;
    ss_frame_write(core->scratch.data, size, draft);
    const int32_t status = route_frame(core, core->scratch.data, size);
    trim(&core->scratch);
    return status;
}

/* What callbacks sent while the outer call was under way, in the order in which they did. */
static void send_deferred(ss_core *core) {
    while (core->deferred.len > 0) {
        buffer taken = core->deferred;
        memset(&core->deferred, 0, sizeof core->deferred);
        for (size_t at = 0, len; at < taken.len; at += len) {
            uint8_t *frame = taken.data + at;
            len = slipstream_load_u32(frame);
            if ((slipstream_load_u32(frame + 8) & SLIPSTREAM_FRAME_ROUTED) != 0) {
                route_frame(core, frame, len);
            } else {
                stamp(core, frame, now_ns(CLOCK_REALTIME));
                deliver_piece(core, frame, len);
            }
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
    if (ss_core_is_open(core))
        return SLIPSTREAM_OK;
    ss_lock_release(&core->lock);
    return SLIPSTREAM_WRONG_STATE;
}

void ss_core_leave(ss_core *core) {
    if (core->deferred.len > 0)
        send_deferred(core);
    ss_lock_release(&core->lock);
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
    uint64_t kinds;
    bool stamped;
    int32_t status = ss_core_check(frames, len, sent, &kinds, &stamped);
    if (status == SLIPSTREAM_OK)
        status = ss_core_enter(core, SEND_WAIT_MS);
    if (status != SLIPSTREAM_OK)
        return status;
    status = ss_core_put_frames(core, frames, len, stamped);
    ss_core_leave(core);
    return status;
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
    ss_core_leave(core);
    return status;
}

/* ---- Life ------------------------------------------------------------------------------ */

ss_core *ss_core_new(ss_logq *log, uint64_t stream) {
    ss_core *core = calloc(1, sizeof *core);
    if (core == NULL)
        return NULL;
    ss_forked(); /* makes the mark before anybody can fork */
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
    for (size_t i = 0; i < s->claim_count; i++)
        free(s->claims[i]);
    s->claim_count = 0;
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

int32_t ss_core_detach(ss_core *core, uint32_t id, uint32_t ms) {
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
        set(&s->acknowledged, slot_acknowledged(s));
        status = take_instance(s, instance) ? SLIPSTREAM_OK : SLIPSTREAM_NO_MEMORY;
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
            atomic_store_explicit(&core->busy, (int32_t)s->id, memory_order_relaxed);
            deliver_gap(core, s);
            atomic_store_explicit(&core->busy, -1, memory_order_relaxed);
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

void ss_core_unhold(ss_core *core) {
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
    if (s != NULL) {
        out->state = atomic_load_explicit(&s->state, memory_order_relaxed);
        out->status = atomic_load_explicit(&s->status, memory_order_relaxed);
        out->broadcast = read_counter(&s->broadcast);
        out->delivered = read_counter(&s->delivered);
        out->failed = read_counter(&s->failed);
        out->dropped = read_counter(&s->dropped);
        out->acknowledged = slot_acknowledged(s);
        out->samples = read_counter(&s->samples);
        out->total_ns = read_counter(&s->total_ns);
        for (unsigned i = 0; i < SS_TIME_BUCKETS; i++)
            out->buckets[i] = read_counter(&s->buckets[i]);
    }
    pthread_mutex_unlock(&core->slots_lock);
    return s == NULL ? SLIPSTREAM_NOT_FOUND : SLIPSTREAM_OK;
}
