#include "peers/desk.h"

#include "base/lock.h"

#include <stdlib.h>

enum { SHARED_SLEEP_MS = 5 }; /* while two hatches are open: only one bell can be slept on */

struct ss_desk {
    ss_log_queue *log;
    _Atomic uint32_t references;
    ss_lock lock;
    ss_side *sides; /* the newest first */
    _Atomic uint32_t bell; /* changes with the sides */
    uint32_t sleepers;     /* on it */
    uint32_t takers;       /* who wait for what is wanted */
    bool ended;
    bool at_once;
    bool messages_next; /* whose turn it is, if there are both */
    uint64_t serial;
    /* The message in hand; 0: none. */
    uint64_t in_hand;
    uint64_t in_hand_until;
    ss_desk_stats stats; /* with those of the hatches that are closed */
};

ss_desk *ss_desk_new(ss_log_queue *log) {
    ss_desk *desk = calloc(1, sizeof *desk);
    if (desk == NULL)
        return NULL;
    desk->log = log;
    atomic_store(&desk->references, 1);
    ss_log_queue_retain(log);
    return desk;
}

void ss_desk_retain(ss_desk *desk) {
    atomic_fetch_add_explicit(&desk->references, 1, memory_order_relaxed);
}

/* ---- Hatches --------------------------------------------------------------------------- */

/* The lock is held. Wakes all who sleep: they look anew. */
static void rouse(ss_desk *desk) {
    atomic_fetch_add(&desk->bell, 1);
    for (uint32_t i = 0; i < desk->sleepers; i++)
        ss_os_wake(&desk->bell, false);
    for (const ss_side *s = desk->sides; s != NULL; s = s->next) {
        atomic_fetch_add(&s->map->hatch->bell, 1);
        for (uint32_t i = 0; i < s->sleepers; i++)
            ss_os_wake(&s->map->hatch->bell, s->map->shared);
    }
}

/* A hatch, in shared memory with `fd`. With `caller` also what asks through it. */
static uint64_t open_side(ss_desk *desk, const ss_terms *terms, uint32_t log_id, int *fd,
                          ss_caller **caller) {
    ss_side *s = calloc(1, sizeof *s);
    if (s == NULL)
        return 0;
    s->map = ss_hatch_new(terms, fd);
    if (s->map != NULL && caller != NULL) {
        ss_hatch_retain(s->map);
        *caller = ss_caller_new(s->map, desk->log, log_id);
    }
    if (s->map == NULL || (caller != NULL && *caller == NULL)) {
        ss_hatch_release(s->map);
        free(s);
        return 0;
    }
    s->log_id = log_id;
    ss_lock_take(&desk->lock);
    const uint64_t id = s->id = ++desk->serial;
    s->next = desk->sides;
    desk->sides = s;
    rouse(desk);
    ss_lock_release(&desk->lock);
    return id;
}

uint64_t ss_desk_open(ss_desk *desk, const ss_terms *terms, uint32_t log_id, int *fd) {
    return open_side(desk, terms, log_id, fd, NULL);
}

ss_caller *ss_desk_caller(ss_desk *desk, const ss_terms *terms, uint32_t log_id, uint64_t *side) {
    ss_caller *caller = NULL;
    *side = open_side(desk, terms, log_id, NULL, &caller);
    return caller;
}

static ss_side *find(const ss_desk *desk, uint64_t id) {
    for (ss_side *s = desk->sides; s != NULL; s = s->next)
        if (s->id == id)
            return s;
    return NULL;
}

static uint64_t count_of(const _Atomic uint64_t *counter) {
    return atomic_load_explicit(counter, memory_order_relaxed);
}

static void add_counts(ss_desk_stats *out, const ss_hatch *hatch) {
    out->denied += count_of(&hatch->denied);
    out->retries += count_of(&hatch->retries);
    out->timeouts += count_of(&hatch->timeouts);
}

static void close_side(ss_desk *desk, ss_side **at) {
    ss_side *s = *at;
    *at = s->next;
    add_counts(&desk->stats, s->map->hatch);
    ss_hatch_release(s->map);
    free(s);
}

/* Closes the hatches of those that have ended, once nothing is left there. */
static void close_left(ss_desk *desk) {
    for (ss_side **at = &desk->sides; *at != NULL;)
        if ((*at)->left && (*at)->sleepers == 0 && ss_side_waiting(*at) == 0)
            close_side(desk, at);
        else
            at = &(*at)->next;
}

void ss_desk_leave(ss_desk *desk, uint64_t id) {
    ss_lock_take(&desk->lock);
    ss_side *s = find(desk, id);
    if (s != NULL)
        s->left = true;
    rouse(desk);
    close_left(desk);
    ss_lock_release(&desk->lock);
}

bool ss_desk_is_sane(ss_desk *desk, uint64_t id) {
    ss_lock_take(&desk->lock);
    const ss_side *s = find(desk, id);
    const bool sane = s == NULL || !s->broken;
    ss_lock_release(&desk->lock);
    return sane;
}

void ss_desk_end(ss_desk *desk, uint32_t at_once) {
    ss_lock_take(&desk->lock);
    desk->ended = true;
    desk->at_once = desk->at_once || at_once != 0;
    rouse(desk);
    ss_lock_release(&desk->lock);
}

void ss_desk_free(ss_desk *desk) {
    /* Pairs with itself: whoever is last sees what all others did. */
    if (atomic_fetch_sub_explicit(&desk->references, 1, memory_order_acq_rel) > 1)
        return;
    while (desk->sides != NULL)
        close_side(desk, &desk->sides);
    ss_log_queue_release(desk->log);
    free(desk);
}

void ss_desk_describe(ss_desk *desk, ss_desk_stats *out) {
    ss_lock_take(&desk->lock);
    *out = desk->stats;
    for (const ss_side *s = desk->sides; s != NULL; s = s->next) {
        add_counts(out, s->map->hatch);
        out->waiting += ss_side_waiting(s);
    }
    ss_lock_release(&desk->lock);
}

/* ---- What is wanted -------------------------------------------------------------------- */

/* The next message of a hatch is in hand from now on. */
static int32_t take_message(ss_desk *desk, ss_side *s, ss_asked *out) {
    const int32_t status = ss_side_take_message(s, out);
    if (status == SLIPSTREAM_MALFORMED) {
        desk->stats.nonsense++;
        ss_log_queue_format(desk->log, SLIPSTREAM_LOG_PLUGIN_MISBEHAVING, s->log_id,
                            "the plugin's outbox makes no sense; nothing more of it is read");
        return SLIPSTREAM_NOT_FOUND;
    }
    if (status == SLIPSTREAM_OK) {
        out->serial = desk->in_hand = ++desk->serial;
        desk->in_hand_until =
            ss_os_now_ns() + s->map->terms.call_timeout_ms * UINT64_C(1000000);
    }
    return status;
}

/* The oldest hatch first: what one version has sent comes before what the next one does. */
static int32_t take_next_message(ss_desk *desk, ss_asked *out) {
    int32_t status = SLIPSTREAM_NOT_FOUND;
    if (desk->in_hand != 0 && ss_os_now_ns() < desk->in_hand_until)
        return status;
    if (desk->in_hand != 0) { /* whoever has it may come back, or not */
        desk->in_hand = 0;
        desk->stats.unsent++;
    }
    ss_side *before = NULL; /* the list goes from new to old */
    while (status == SLIPSTREAM_NOT_FOUND && before != desk->sides) {
        ss_side *s = desk->sides;
        while (s->next != before)
            s = s->next;
        status = take_message(desk, s, out);
        before = s;
    }
    return status;
}

static int32_t take_next_question(ss_desk *desk, ss_asked *out) {
    int32_t status = SLIPSTREAM_NOT_FOUND;
    for (ss_side *s = desk->sides; s != NULL && status == SLIPSTREAM_NOT_FOUND; s = s->next)
        for (int i = 0; i <= SS_CALLS_AT_ONCE; i++) { /* not for ever: more may come meanwhile */
            status = ss_side_take_question(s, out);
            if (status != SLIPSTREAM_MALFORMED)
                break;
            status = SLIPSTREAM_NOT_FOUND;
            desk->stats.nonsense++; /* it has its answer */
        }
    return status;
}

/* The lock is held. */
static int32_t take(ss_desk *desk, ss_asked *out) {
    if (desk->at_once)
        return SLIPSTREAM_WRONG_STATE;
    desk->messages_next = !desk->messages_next;
    int32_t status = desk->messages_next ? take_next_message(desk, out)
                                         : take_next_question(desk, out);
    if (status == SLIPSTREAM_NOT_FOUND)
        status = desk->messages_next ? take_next_question(desk, out)
                                     : take_next_message(desk, out);
    close_left(desk);
    if (status != SLIPSTREAM_NOT_FOUND || !desk->ended)
        return status;
    for (const ss_side *s = desk->sides; s != NULL; s = s->next)
        if (ss_side_waiting(s) > 0)
            return status;
    return SLIPSTREAM_WRONG_STATE;
}

/* ---- Sleeping -------------------------------------------------------------------------- */

/* Where to sleep: a bell, and how long at most. The lock is held. */
typedef struct bed {
    ss_hatch_map *map; /* NULL: the desk's own bell */
    uint64_t side;
    uint32_t seen;
    uint64_t until;
} bed;

static bed lie_down(ss_desk *desk, uint64_t until) {
    ss_side *s = desk->sides;
    bed b = {.until = until};
    if (s == NULL) {
        b.seen = atomic_load(&desk->bell);
        desk->sleepers++;
        return b;
    }
    b.map = s->map;
    b.side = s->id;
    ss_hatch_retain(s->map);
    b.seen = atomic_load(&s->map->hatch->bell);
    atomic_store(&s->map->hatch->sleepers, ++s->sleepers); /* see ss_hatch_ring */
    const uint64_t soon = ss_os_now_ns() + SHARED_SLEEP_MS * UINT64_C(1000000);
    if (s->next != NULL && soon < b.until)
        b.until = soon;
    if (desk->in_hand != 0 && desk->in_hand_until < b.until)
        b.until = desk->in_hand_until;
    return b;
}

static void get_up(ss_desk *desk, const bed *b) {
    if (b->map == NULL) {
        desk->sleepers--;
        return;
    }
    ss_side *s = find(desk, b->side);
    if (s != NULL)
        atomic_store(&s->map->hatch->sleepers, --s->sleepers);
    ss_hatch_release(b->map);
}

static void sleep_in(ss_desk *desk, const bed *b) {
    const uint64_t now = ss_os_now_ns();
    if (now >= b->until)
        return;
    if (b->map == NULL)
        ss_os_wait(&desk->bell, b->seen, b->until - now, false);
    else
        ss_os_wait(&b->map->hatch->bell, b->seen, b->until - now, b->map->shared);
}

int32_t ss_desk_take(ss_desk *desk, uint32_t ms, ss_asked *out) {
    const uint64_t end = ss_os_now_ns() + ms * UINT64_C(1000000);
    uint64_t now = 0;
    bool slept = false;
    ss_lock_take(&desk->lock);
    desk->takers++;
    int32_t status = SLIPSTREAM_NOT_FOUND;
    while (status == SLIPSTREAM_NOT_FOUND) {
        const bed b = lie_down(desk, end);
        status = take(desk, out);
        if (status == SLIPSTREAM_NOT_FOUND) {
            ss_lock_release(&desk->lock);
            sleep_in(desk, &b);
            slept = true;
            ss_lock_take(&desk->lock);
        }
        get_up(desk, &b);
        close_left(desk);
        now = ss_os_now_ns();
        if (status == SLIPSTREAM_NOT_FOUND && now >= end)
            status = SLIPSTREAM_TIMEOUT;
    }
    const bool is_last = --desk->takers == 0;
    ss_lock_release(&desk->lock);
    /* Who has awakened this thread by a message goes on first: nobody waits for an answer, and on
     * the same processor the sender would wait until it was handed over. */
    if (slept && status == SLIPSTREAM_OK && out->what == SS_ASKS_SEND)
        ss_os_yield();
    if (status == SLIPSTREAM_OK) {
        out->taken_ns = now;
        out->is_last = is_last;
    }
    return status;
}

/* ---- Answers --------------------------------------------------------------------------- */

static bool answer_message(ss_desk *desk, const ss_asked *asked, int32_t status) {
    if (desk->in_hand != asked->serial)
        return false;
    desk->in_hand = 0;
    if (status == SLIPSTREAM_OK)
        desk->stats.sent++;
    else
        desk->stats.unsent++;
    return true;
}

static bool answer_question(ss_desk *desk, const ss_asked *asked, int32_t status,
                            const uint8_t *answer, size_t len) {
    ss_side *s = find(desk, asked->side);
    const bool wanted = s != NULL && ss_side_answer(s, asked, status, answer, len);
    desk->stats.answered += wanted;
    return wanted;
}

uint64_t ss_desk_in_hand_ns(const ss_asked *asked) {
    const uint64_t since = asked->taken_ns; /* of another thread's it may end meanwhile */
    return since == 0 ? 0 : ss_os_now_ns() - since;
}

bool ss_desk_answer(ss_desk *desk, ss_asked *asked, int32_t status, const uint8_t *answer,
                    size_t len) {
    ss_lock_take(&desk->lock);
    const bool wanted = asked->what == SS_ASKS_SEND
                            ? answer_message(desk, asked, status)
                            : answer_question(desk, asked, status, answer, len);
    if (!wanted)
        desk->stats.late++;
    ss_lock_release(&desk->lock);
    free(asked->memory);
    asked->memory = NULL;
    asked->late_ns = wanted ? 0 : ss_desk_in_hand_ns(asked);
    asked->taken_ns = 0;
    return wanted;
}
