/* watch: has a plugin been in one call for too long? One judge for all: a worker's plugin is
 * looked at by its supervisor, those in this process by a thread that they share. */
#ifndef SS_WATCH_H
#define SS_WATCH_H

#include "base/log_queue.h"
#include "ring/ring.h"

/* What was seen of a consumer at the last look. */
typedef struct ss_watch {
    uint64_t started; /* ordinal in flight, or handed over last */
    uint64_t calls;
    uint64_t since_ns; /* when the call under way was seen first; 0: there is none */
    bool flushing; /* it is one of flush */
} ss_watch;

/* Looks at a consumer; `key` is its ring's. False if what it writes makes no sense. */
enum { SS_FLUSH_GRACE_MS = 1000 }; /* a flush is told callback_timeout, and may just keep to it */
bool ss_watch_look(ss_watch *watch, const ss_control *control, uint64_t key, uint64_t now);

/* How long the call under way lasts already; 0 outside of one. */
static inline uint64_t ss_watch_busy_ns(const ss_watch *watch, uint64_t now) {
    return watch->since_ns == 0 ? 0 : now - watch->since_ns;
}

/* A consumer in this process, for the thread `slip-watch`, which says in the log when a callback
 * is late, and when it has returned after all. The thread lives as long as there is anything to
 * watch. */
typedef struct ss_watched {
    const ss_control *control;
    uint64_t key;
    ss_log_queue *log;
    uint32_t log_id;
    uint32_t limit_ms; /* 0: never late */
    /* The watch's own. */
    bool is_on;
    bool is_told;
    ss_watch watch;
    struct ss_watched *next;
} ss_watched;

void ss_watched_add(ss_watched *watched);
/* Before anything of it goes. */
void ss_watched_remove(ss_watched *watched);
/* How long the callback under way lasts already, if that is longer than the limit; else 0. */
uint64_t ss_watched_late_ns(ss_watched *watched);

#endif
