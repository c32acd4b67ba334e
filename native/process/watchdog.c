/* watchdog: kills a worker that hangs, is late, or writes nonsense. */
#include "process/supervised.h"

#include <stdio.h>
#include <string.h>

enum {
    INSANE_MS = 300, /* a thread may be interrupted between two words for a while */
};

static bool is_stopped(pid_t pid) {
    char path[64];
    char text[512];
    snprintf(path, sizeof path, "/proc/%d/stat", (int)pid);
    FILE *file = fopen(path, "re");
    if (file == NULL)
        return false;
    const size_t n = fread(text, 1, sizeof text - 1, file);
    fclose(file);
    text[n] = '\0';
    const char *behind_name = strrchr(text, ')');
    return behind_name != NULL && (behind_name[2] == 'T' || behind_name[2] == 't');
}

/* For how long it has been in no call and has done nothing, although events wait for it. The
 * queue's lock is held. */
static uint64_t idle_ns(ss_supervised *w, ss_generation *p, uint64_t now, bool punctual) {
    ss_ring *ring = w->queue->ring;
    const uint64_t acked = ss_ring_acked(ring);
    uint32_t sleep;
    const bool expected = ss_ring_is_awake(ring, &sleep) && acked < ss_ring_last(ring) &&
                          p->watch.since_ns == 0 && !ss_queue_is_retrying(w->queue) &&
                          atomic_load(&ss_ring_get_head(ring)->paused) == 0;
    const bool same = p->idle.since_ns != 0 && p->idle.started == p->watch.started &&
                      p->idle.calls == p->watch.calls && p->idle.acked == acked &&
                      p->idle.sleep == sleep;
    if (!expected || !same || !punctual) {
        p->idle.since_ns = expected ? now : 0;
        p->idle.started = p->watch.started;
        p->idle.calls = p->watch.calls;
        p->idle.acked = acked;
        p->idle.sleep = sleep;
    }
    return p->idle.since_ns == 0 ? 0 : now - p->idle.since_ns;
}

/* Is a callback under way for too long? Does what it writes make sense? */
void ss_supervised_watch(ss_supervised *w, ss_generation *p, uint64_t now, bool punctual) {
    const ss_spec *s = &p->spec->values;
    const uint64_t key = ss_ring_get_head(w->queue->ring)->key;
    if (!punctual)
        p->watch.since_ns = 0; /* counted anew, from this look on */
    ss_lock_take(&w->queue->lock);
    ss_ring_acked(w->queue->ring);
    const bool sane = ss_watch_look(&p->watch, p->control, key, now) &&
                      ss_ring_is_sane(w->queue->ring) &&
                      p->watch.started <= ss_ring_last(w->queue->ring);
    ss_queue_tell_lost(w->queue);
    ss_ring_wake(w->queue->ring);
    const uint64_t idle = idle_ns(w, p, now, punctual);
    ss_lock_release(&w->queue->lock);
    if (sane || !punctual || is_stopped(p->pid))
        p->sane_ns = now;
    if (now - p->sane_ns >= INSANE_MS * MS)
        ss_generation_kill(p, "its control area was written over");
    const uint64_t limit_ms = s->callback_timeout_ms + (p->watch.flushing ? SS_FLUSH_GRACE_MS : 0);
    if (p->side != 0 && !ss_desk_is_sane(s->desk, p->side))
        ss_generation_kill(p, "its outbox was written over");
    if (s->callback_timeout_ms != 0 && idle >= s->callback_timeout_ms * MS) {
        char why[160];
        snprintf(why, sizeof why,
                 "it took nothing for %.3g s while events waited (after ordinal %llu)",
                 s->callback_timeout_ms / 1000.0, (unsigned long long)p->watch.started);
        ss_generation_kill(p, why);
    }
    if (s->callback_timeout_ms != 0 && ss_watch_busy_ns(&p->watch, now) >= limit_ms * MS) {
        char why[160];
        snprintf(why, sizeof why, "%s took longer than %.3g s (ordinal %llu)",
                 p->watch.flushing ? "flush" : "a callback", (double)limit_ms / 1000,
                 (unsigned long long)p->watch.started);
        ss_generation_kill(p, why);
    }
}

void ss_supervised_miss_deadline(ss_supervised *w, ss_generation *p) {
    char text[512];
    p->deadline_ns = 0;
    if (p == w->current) {
        ss_supervised_step(w, (ss_event){.type = SS_IS_LATE});
        return;
    }
    snprintf(text, sizeof text, "%s: %s", p->spec->values.shown, ss_late_text(w->at.next));
    ss_supervised_fail_next(
        w, (ss_event){.type = SS_IS_LATE, .refusal = SS_REFUSED_TIMED_OUT}, text,
        "raise `load_timeout` if it needs longer; else attach a debugger to the worker");
}
