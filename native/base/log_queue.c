#include "base/log_queue.h"

#include "base/lock.h"
#include "base/text.h"
#include "platform/platform.h"

#include <slipstream.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A record in the ring: this head, then the text, padded to 8 bytes. Writers reserve room
 * by moving `tail`, fill it in, and set `size` last; the reader stops at a record whose
 * size is still 0, and zeroes what it has read before it gives the room back. */
typedef struct record {
    _Atomic uint32_t size; /* whole record, 0 while it is being written */
    uint32_t len;
    int64_t time_ns;
    uint32_t level;
    uint32_t log_id;
    uint64_t whole; /* bytes before it was cut */
} record;

/* How many lines a source has put in the second under way: its number, then the count. */
typedef struct rate {
    _Atomic uint64_t state;
    _Atomic uint32_t withheld;
    _Atomic uint32_t log_id;
} rate;

/* Sources share a place where their numbers are equal modulo this: few live at once. What a
 * plugin says and what the core says of it are counted apart, so that neither hides the other. */
enum { SOURCES = 256, OF_PLUGIN = 0, OF_CORE = 1, VOICES = 2 };

struct ss_log_queue {
    size_t mask;
    _Atomic uint64_t tail; /* writers */
    _Atomic uint64_t head; /* reader */
    _Atomic uint64_t dropped;
    _Atomic uint32_t level;
    _Atomic uint32_t signal; /* changes with every line; waited for */
    _Atomic uint32_t waiting;
    _Atomic uint32_t references;
    _Atomic uint32_t woken; /* for good */
    _Atomic uint32_t poked;
    ss_lock taking; /* by the reader, or by a handler while the process falls */
    char *raw;      /* of who takes: one text as it came */
    char *shown;    /* and made safe, the reader's */
    char *shown_in_crash;
    uint8_t *ring;
    ss_log_sink *sink;
    rate rates[SOURCES][VOICES];
};

enum {
    SHOWN_ROOM = SLIPSTREAM_LOG_MAX + SS_CUT_ROOM,
    OLDEST_S = 60, /* a relayed line that is older has a wrong time */
    CRASH_MS = 100, /* for the reader to be through with a line */
};

static void free_queue(ss_log_queue *q) {
    free(q->ring);
    free(q->raw);
    free(q->shown);
    free(q->shown_in_crash);
    free(q);
}

ss_log_queue *ss_log_queue_new(size_t bytes) {
    ss_log_queue *q = calloc(1, sizeof *q);
    if (q == NULL)
        return NULL;
    q->mask = bytes - 1;
    q->ring = calloc(1, bytes);
    q->raw = malloc(SLIPSTREAM_LOG_MAX);
    q->shown = malloc(SHOWN_ROOM);
    q->shown_in_crash = malloc(SHOWN_ROOM);
    q->references = 1;
    atomic_store(&q->level, SLIPSTREAM_LOG_INFO);
    if (q->ring == NULL || q->raw == NULL || q->shown == NULL || q->shown_in_crash == NULL) {
        free_queue(q);
        return NULL;
    }
    return q;
}

void ss_log_queue_retain(ss_log_queue *q) {
    atomic_fetch_add_explicit(&q->references, 1, memory_order_relaxed);
}

void ss_log_queue_release(ss_log_queue *q) {
    if (atomic_fetch_sub_explicit(&q->references, 1, memory_order_acq_rel) == 1)
        free_queue(q);
}

void ss_log_queue_set_sink(ss_log_queue *q, ss_log_sink *sink) {
    q->sink = sink;
}

void ss_log_queue_set_level(ss_log_queue *q, uint32_t level) {
    atomic_store_explicit(&q->level, level, memory_order_relaxed);
}

bool ss_log_queue_wants(const ss_log_queue *q, uint32_t level) {
    return level >= atomic_load_explicit(&q->level, memory_order_relaxed);
}

static void ring_write(ss_log_queue *q, uint64_t at, const void *data, size_t len) {
    const size_t start = (size_t)at & q->mask;
    const size_t first = len < q->mask + 1 - start ? len : q->mask + 1 - start;
    memcpy(q->ring + start, data, first);
    memcpy(q->ring, (const uint8_t *)data + first, len - first);
}

static void ring_take(ss_log_queue *q, uint64_t at, void *data, size_t len) {
    const size_t start = (size_t)at & q->mask;
    const size_t first = len < q->mask + 1 - start ? len : q->mask + 1 - start;
    memcpy(data, q->ring + start, first);
    memcpy((uint8_t *)data + first, q->ring, len - first);
}

static void ring_clear(ss_log_queue *q, uint64_t at, size_t len) {
    const size_t start = (size_t)at & q->mask;
    const size_t first = len < q->mask + 1 - start ? len : q->mask + 1 - start;
    memset(q->ring + start, 0, first);
    memset(q->ring, 0, len - first);
}

/* Records are 8-aligned and so is the ring, so a record's first words never wrap. */
static record *record_at(ss_log_queue *q, uint64_t at) {
    return (record *)(void *)(q->ring + ((size_t)at & q->mask));
}

/* All in one order with ss_log_queue_wait: either it sees that `signal` has changed, or we see
 * that it waits. */
static void announce(ss_log_queue *q) {
    atomic_fetch_add_explicit(&q->signal, 1, memory_order_seq_cst);
    if (atomic_load_explicit(&q->waiting, memory_order_seq_cst) != 0)
        ss_os_wake(&q->signal, false);
}

void ss_log_queue_wake(ss_log_queue *q) {
    atomic_store_explicit(&q->woken, 1, memory_order_seq_cst);
    announce(q);
}

void ss_log_queue_poke(ss_log_queue *q) {
    atomic_store_explicit(&q->poked, 1, memory_order_seq_cst);
    announce(q);
}

/* ---- How many lines a source may put ------------------------------------------------------ */

static uint64_t this_second(void) {
    return ss_os_now_ns() / 1000000000;
}

static bool may_put(ss_log_queue *q, uint32_t log_id, uint32_t voice, uint32_t limit) {
    rate *r = &q->rates[log_id % SOURCES][voice];
    const uint64_t second = this_second() << 32;
    uint64_t seen = atomic_load_explicit(&r->state, memory_order_relaxed);
    if (log_id == 0)
        return true; /* the core, of itself */
    for (;;) {
        const uint64_t next = seen >> 32 == second >> 32 ? seen + 1 : second + 1;
        if ((uint32_t)next > limit)
            break;
        if (atomic_compare_exchange_weak_explicit(&r->state, &seen, next, memory_order_relaxed,
                                                  memory_order_relaxed))
            return true;
    }
    atomic_store_explicit(&r->log_id, log_id, memory_order_relaxed);
    atomic_fetch_add_explicit(&r->withheld, 1, memory_order_relaxed);
    return false;
}

bool ss_log_queue_may_say(ss_log_queue *q, uint32_t log_id) {
    return may_put(q, log_id, OF_CORE, SS_LINES_A_SECOND);
}

/* ---- Putting ------------------------------------------------------------------------------- */

/* Reserves room for a record. The clock is read between the look at the tail and its move: so
 * records stand in the order of their times. */
static bool reserve(ss_log_queue *q, uint64_t size, uint64_t *at, int64_t *time_ns) {
    const bool is_given = *time_ns != 0;
    /* Pairs with the release of the move below: whoever sees it reads a later time. */
    *at = atomic_load_explicit(&q->tail, memory_order_acquire);
    do {
        /* Signed: `at` may be behind the reader by now; then the exchange below fails. Pairs
         * with the release in ss_log_queue_next: what is free was zeroed. */
        const uint64_t head = atomic_load_explicit(&q->head, memory_order_acquire);
        if ((int64_t)(*at + size - head) > (int64_t)(q->mask + 1))
            return false;
        if (!is_given)
            *time_ns = (int64_t)ss_os_wall_ns();
    } while (!atomic_compare_exchange_weak_explicit(&q->tail, at, *at + size, memory_order_acq_rel,
                                                    memory_order_acquire));
    return true;
}

/* A time of 0 is now; `whole` is how long the text was before somebody cut it. */
static void put(ss_log_queue *q, int64_t time_ns, uint32_t level, uint32_t log_id, const char *text,
                size_t len, uint64_t whole) {
    uint64_t at;
    if (len > SLIPSTREAM_LOG_MAX)
        len = SLIPSTREAM_LOG_MAX;
    if (q->sink != NULL) {
        q->sink((int64_t)ss_os_wall_ns(), level, text, len, whole);
        return;
    }
    const size_t size = (sizeof(record) + len + 7) & ~(size_t)7;
    if (!reserve(q, size, &at, &time_ns)) {
        atomic_fetch_add_explicit(&q->dropped, 1, memory_order_relaxed);
        announce(q);
        return;
    }
    const record new = {
        .len = (uint32_t)len, .time_ns = time_ns, .level = level, .log_id = log_id, .whole = whole};
    const size_t behind_size = offsetof(record, len);
    ring_write(q, at + behind_size, (const uint8_t *)&new + behind_size,
               sizeof new - behind_size);
    ring_write(q, at + sizeof new, text, len);
    /* Pairs with the acquire in ss_log_queue_next. */
    atomic_store_explicit(&record_at(q, at)->size, (uint32_t)size, memory_order_release);
    announce(q);
}

void ss_log_queue_put(ss_log_queue *q, uint32_t level, uint32_t log_id, const char *text,
                      size_t len) {
    if (ss_log_queue_wants(q, level) && may_put(q, log_id, OF_PLUGIN, SS_LINES_A_SECOND))
        put(q, 0, level, log_id, text, len, len);
}

void ss_log_queue_relay(ss_log_queue *q, int64_t time_ns, uint32_t level, uint32_t log_id,
                        const char *text, size_t len, uint64_t whole) {
    const int64_t now = (int64_t)ss_os_wall_ns();
    if (time_ns > now || time_ns < now - OLDEST_S * INT64_C(1000000000)) /* it may be any number */
        time_ns = now;
    /* The worker keeps to the rates itself; this is for one that does not. */
    if (ss_log_queue_wants(q, level) &&
        may_put(q, log_id, OF_PLUGIN, 2 * VOICES * SS_LINES_A_SECOND))
        put(q, time_ns, level, log_id, text, len, whole < len ? len : whole);
}

void ss_log_queue_tell(ss_log_queue *q, uint32_t level, uint32_t log_id, const char *text) {
    if (ss_log_queue_wants(q, level))
        put(q, 0, level, log_id, text, strlen(text), strlen(text));
}

void ss_log_queue_format(ss_log_queue *q, uint32_t level, uint32_t log_id, const char *format,
                         ...) {
    char text[SLIPSTREAM_ERROR_MAX + 512];
    va_list args;
    if (!ss_log_queue_wants(q, level) || !may_put(q, log_id, OF_CORE, SS_LINES_A_SECOND))
        return;
    va_start(args, format);
    const int n = vsnprintf(text, sizeof text, format, args);
    va_end(args);
    if (n > 0)
        put(q, 0, level, log_id, text, (size_t)n < sizeof text ? (size_t)n : sizeof text - 1,
            (uint64_t)n);
}

void ss_log_queue_tell_withheld(ss_log_queue *q, uint32_t at_once) {
    const uint64_t second = this_second();
    for (uint32_t i = 0; i < SOURCES * VOICES; i++) {
        rate *r = &q->rates[i / VOICES][i % VOICES];
        char text[80];
        if (atomic_load_explicit(&r->withheld, memory_order_relaxed) == 0 ||
            (at_once == 0 && atomic_load_explicit(&r->state, memory_order_relaxed) >> 32 == second))
            continue;
        const uint32_t withheld = atomic_exchange_explicit(&r->withheld, 0, memory_order_relaxed);
        snprintf(text, sizeof text, "suppressed %u %s: more than %u came in a second", withheld,
                 ss_text_form(withheld, "line", "lines"), (uint32_t)SS_LINES_A_SECOND);
        ss_log_queue_tell(q, SLIPSTREAM_LOG_WARN,
                          atomic_load_explicit(&r->log_id, memory_order_relaxed), text);
    }
}

/* ---- Taking -------------------------------------------------------------------------------- */

static bool ready(ss_log_queue *q) {
    const uint64_t at = atomic_load_explicit(&q->head, memory_order_relaxed);
    return atomic_load_explicit(&record_at(q, at)->size, memory_order_acquire) != 0 ||
           atomic_load_explicit(&q->dropped, memory_order_relaxed) != 0;
}

bool ss_log_queue_wait(ss_log_queue *q, uint32_t ms) {
    atomic_store_explicit(&q->waiting, 1, memory_order_seq_cst);
    const uint32_t seen = atomic_load_explicit(&q->signal, memory_order_seq_cst);
    if (!ready(q) && atomic_load_explicit(&q->woken, memory_order_seq_cst) == 0 &&
        atomic_load_explicit(&q->poked, memory_order_seq_cst) == 0)
        ss_os_wait(&q->signal, seen, ms * UINT64_C(1000000), false);
    atomic_store_explicit(&q->poked, 0, memory_order_seq_cst);
    atomic_store_explicit(&q->waiting, 0, memory_order_seq_cst);
    return ready(q);
}

uint64_t ss_log_queue_end(const ss_log_queue *q) {
    return atomic_load_explicit(&q->tail, memory_order_acquire);
}

static bool take(ss_log_queue *q, ss_log_line *line, char *shown) {
    record head;
    const uint64_t at = atomic_load_explicit(&q->head, memory_order_relaxed);
    /* Pairs with the release in ss_log_queue_put. */
    const uint32_t size = atomic_load_explicit(&record_at(q, at)->size, memory_order_acquire);
    if (size == 0)
        return false;
    const size_t behind_size = offsetof(record, len);
    ring_take(q, at + behind_size, (uint8_t *)&head + behind_size, sizeof head - behind_size);
    ring_take(q, at + sizeof head, q->raw, head.len);
    ring_clear(q, at, size);
    /* Pairs with the acquire in ss_log_queue_put. */
    atomic_store_explicit(&q->head, at + size, memory_order_release);
    line->time_ns = head.time_ns;
    line->level = head.level;
    line->log_id = head.log_id;
    line->end = at + size;
    line->text = shown;
    bool is_cut;
    line->len = ss_text_show(shown, SLIPSTREAM_LOG_MAX + 1, q->raw, head.len, &is_cut);
    if (is_cut || head.whole > head.len)
        line->len += (size_t)snprintf(shown + line->len, SHOWN_ROOM - line->len, SS_CUT_MARK,
                                      (unsigned long long)head.whole);
    return true;
}

bool ss_log_queue_next(ss_log_queue *q, ss_log_line *line) {
    if (!ss_lock_try(&q->taking))
        return false; /* the process falls */
    const bool is_taken = take(q, line, q->shown);
    ss_lock_release(&q->taking);
    return is_taken;
}

bool ss_log_queue_next_in_crash(ss_log_queue *q, ss_log_line *line) {
    if (ss_lock_is_mine(&q->taking) || !ss_lock_wait(&q->taking, CRASH_MS))
        return false;
    const bool is_taken = take(q, line, q->shown_in_crash);
    ss_lock_release(&q->taking);
    return is_taken;
}

uint64_t ss_log_queue_dropped(ss_log_queue *q) {
    return atomic_exchange_explicit(&q->dropped, 0, memory_order_relaxed);
}
