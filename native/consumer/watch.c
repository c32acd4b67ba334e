#include "consumer/watch.h"

#include "platform/platform.h"

#include <slipstream.h>

#define MS UINT64_C(1000000)
#define RENEWING UINT32_C(0x80000000)

enum {
    LOOKS = 8, /* in the time that a callback may take */
    SHORTEST_MS = 5,
    LONGEST_MS = 500,
    OVERSLEPT_MS = 500, /* the process was stopped, or the machine */
};

bool ss_watch_look(ss_watch *watch, const ss_control *control, uint64_t key, uint64_t now) {
    uint64_t started = 0;
    uint64_t run = 0;
    const bool sane = ss_hear(&control->started, key, SS_PLACE_STARTED, &started) &&
                      ss_hear(&control->run, key, SS_PLACE_RUN, &run);
    const uint64_t calls = atomic_load_explicit(&control->calls, memory_order_relaxed);
    const bool flushing = atomic_load_explicit(&control->flushing, memory_order_relaxed) != 0;
    const bool same =
        started == watch->started && calls == watch->calls && flushing == watch->flushing;
    if (run == 0 && !flushing)
        watch->since_ns = 0;
    else if (watch->since_ns == 0 || !same)
        watch->since_ns = now;
    watch->started = started;
    watch->calls = calls;
    watch->flushing = flushing;
    return sane;
}

/* ---- Those in this process ------------------------------------------------------------- */

static struct {
    _Atomic uint32_t process; /* that all of this is of */
    ss_os_mutex lock;
    ss_os_condition changed;
    ss_os_thread thread;
    uintptr_t number; /* of the thread that watches; 0: there is none */
    uintptr_t threads; /* there have been */
    ss_watched *first;
} all;

/* What a forked child finds here is of threads that it does not have. */
static void renew(uint32_t process) {
    uint32_t seen = atomic_load(&all.process);
    while (seen != process) {
        if (seen == (process | RENEWING)) {
            ss_os_yield();
            seen = atomic_load(&all.process);
        } else if (atomic_compare_exchange_strong(&all.process, &seen, process | RENEWING)) {
            ss_os_mutex_init(&all.lock);
            ss_os_condition_init(&all.changed);
            all.number = 0;
            all.first = NULL;
            atomic_store(&all.process, process);
            return;
        }
    }
}

static void take(void) {
    const uint32_t process = ss_os_process();
    if (atomic_load(&all.process) != process)
        renew(process);
    ss_os_mutex_lock(&all.lock);
}

static uint32_t limit_ms(const ss_watched *watched) {
    return watched->limit_ms + (watched->watch.flushing ? SS_FLUSH_GRACE_MS : 0);
}

/* The lock is held. */
static uint64_t late_ns(ss_watched *watched, uint64_t now) {
    if (!watched->is_on)
        return 0;
    ss_watch_look(&watched->watch, watched->control, watched->key, now);
    const uint64_t busy = ss_watch_busy_ns(&watched->watch, now);
    return busy > limit_ms(watched) * MS ? busy : 0;
}

static void tell(ss_watched *watched, bool late) {
    if (late && !watched->is_told)
        ss_log_queue_format(watched->log, SLIPSTREAM_LOG_ERROR, watched->log_id,
                            "plugin is stuck: %s takes longer than %s (%g s), ordinal %llu",
                            watched->watch.flushing ? "flush" : "a callback",
                            watched->watch.flushing ? "callback_timeout and a second"
                                                    : "callback_timeout",
                            limit_ms(watched) / 1000.0, (unsigned long long)watched->watch.started);
    else if (!late && watched->is_told)
        ss_log_queue_format(watched->log, SLIPSTREAM_LOG_WARN, watched->log_id,
                            "plugin is not stuck any more");
    watched->is_told = late;
}

static void *run(void *number) {
    uint64_t due = SS_OS_NEVER;
    ss_os_thread_set_name("slip-watch");
    ss_os_mutex_lock(&all.lock);
    while (all.number == (uintptr_t)number) {
        const uint64_t now = ss_os_now_ns();
        uint64_t pause_ms = LONGEST_MS;
        if (now > due && now - due > OVERSLEPT_MS * MS) /* nobody has run: it is nobody's fault */
            for (ss_watched *watched = all.first; watched != NULL; watched = watched->next)
                watched->watch.since_ns = 0;
        for (ss_watched *watched = all.first; watched != NULL; watched = watched->next) {
            const uint64_t piece = watched->limit_ms / LOOKS;
            pause_ms = piece < pause_ms ? piece : pause_ms;
            tell(watched, late_ns(watched, now) != 0);
        }
        pause_ms = pause_ms < SHORTEST_MS ? SHORTEST_MS : pause_ms;
        due = now + pause_ms * MS;
        ss_os_condition_wait(&all.changed, &all.lock, due);
    }
    ss_os_mutex_unlock(&all.lock);
    return NULL;
}

void ss_watched_add(ss_watched *watched) {
    if (watched->limit_ms == 0)
        return;
    take();
    if (all.number == 0) {
        all.number = ++all.threads;
        if (!ss_os_thread_start(&all.thread, run, (void *)all.number)) {
            all.number = 0;
            ss_log_queue_format(watched->log, SLIPSTREAM_LOG_ERROR, watched->log_id,
                                "cannot start a thread: nobody notices if it is stuck");
        }
    }
    if (all.number != 0) {
        watched->is_on = true;
        watched->watch = (ss_watch){0};
        watched->next = all.first;
        all.first = watched;
    }
    ss_os_condition_wake_all(&all.changed); /* it may have to look sooner than it would */
    ss_os_mutex_unlock(&all.lock);
}

void ss_watched_remove(ss_watched *watched) {
    if (watched->limit_ms == 0)
        return;
    take();
    for (ss_watched **at = &all.first; *at != NULL; at = &(*at)->next)
        if (*at == watched) {
            *at = watched->next;
            tell(watched, false);
            watched->is_on = false;
            break;
        }
    const ss_os_thread thread = all.thread;
    const bool last = all.first == NULL && all.number != 0;
    if (last)
        all.number = 0;
    ss_os_condition_wake_all(&all.changed);
    ss_os_mutex_unlock(&all.lock);
    if (last) /* so that nothing of it is left behind */
        ss_os_thread_join(thread);
}

uint64_t ss_watched_late_ns(ss_watched *watched) {
    if (watched->limit_ms == 0)
        return 0;
    take();
    const uint64_t late = late_ns(watched, ss_os_now_ns());
    ss_os_mutex_unlock(&all.lock);
    return late;
}
