/* crashes: what follows from a crash. Which event is to blame, what is reported, and
 * when the worker is started again, if at all. */
#include "process/supervised.h"

#include "frame/dead_letter.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static uint32_t crashes_in_window(const ss_supervised *w) {
    const uint64_t window = w->spec->values.window_ms * MS;
    const uint64_t now = now_ns();
    uint32_t found = 0;
    const uint32_t kept = w->crashes < CRASHES_MAX ? w->crashes : CRASHES_MAX;
    for (uint32_t i = 0; i < kept; i++)
        found += now - w->crash_ns[i] <= window;
    return found;
}

void ss_supervised_schedule_restart(ss_supervised *w, const char *why) {
    const ss_spec *s = &w->spec->values;
    const uint32_t recent = crashes_in_window(w) + w->failed_starts;
    char reason[sizeof w->reason];
    if (s->max_crashes != 0 && recent >= s->max_crashes) {
        snprintf(reason, sizeof reason, "%u crashes within %.0f s, the last: %s", recent,
                 (double)s->window_ms / 1000, why);
        ss_supervised_log(w, SLIPSTREAM_LOG_ERROR,
                          "quarantined: too many crashes; it waits for resume");
        w->restart_at_ns = 0;
        ss_supervised_set_state(w, SS_SUPERVISED_QUARANTINED, reason);
        return;
    }
    uint64_t delay = s->initial_delay_ms;
    for (uint32_t i = 1; i < recent && delay < s->max_delay_ms; i++)
        delay *= 2;
    if (delay > s->max_delay_ms)
        delay = s->max_delay_ms;
    delay += (uint64_t)(rand() % 100) * delay / 1000; /* jitter: up to a tenth */
    w->restart_at_ns = now_ns() + delay * MS;
    ss_supervised_set_state(w, SS_SUPERVISED_BACKOFF, why);
}

void ss_supervised_keep_report(ss_supervised *w, const ss_report *report) {
    ss_report *copy = malloc(sizeof *copy);
    if (copy == NULL)
        return;
    *copy = *report;
    if (w->report_count == REPORTS_MAX) {
        ss_supervised_log(w, SLIPSTREAM_LOG_WARN, "a crash report was dropped: too many waited");
        free(w->reports[0]);
        memmove(w->reports, w->reports + 1, (REPORTS_MAX - 1) * sizeof w->reports[0]);
        w->report_count--;
    }
    w->reports[w->report_count++] = copy;
}

/* The events that were with the plugin: how many, and the last one's ordinal. During a flush
 * they are those that it has not acknowledged. */
static void find_in_flight(ss_supervised *w, ss_generation *p, ss_report *report) {
    ss_ring *ring = w->queue->ring;
    const uint64_t key = ss_ring_get_head(ring)->key;
    const uint64_t acked = ss_ring_acked(ring);
    uint64_t started = 0;
    uint64_t run = 0;
    size_t len = 0;
    report->acknowledged = acked;
    if (ss_ring_get_control(ring) != p->control ||
        !ss_hear(&p->control->started, key, SS_PLACE_STARTED, &started) ||
        !ss_hear(&p->control->run, key, SS_PLACE_RUN, &run) || started <= acked ||
        started > ss_ring_last(ring))
        return;
    /* A flush that hangs, or is killed, says nothing of events: it may be what they go to. */
    const bool flushing =
        run == 0 && report->has_fault != 0 &&
        atomic_load_explicit(&p->control->flushing, memory_order_relaxed) != 0;
    if (flushing)
        run = started - acked;
    if (!flushing) {
        w->flush_crashes = 0;
    } else if (w->flush_crashes == 0 || acked >= w->flush_until) {
        w->flush_crashes = 1;
        w->flush_until = started;
    } else {
        w->flush_crashes++; /* one of the same events: flushing after each finds out which */
    }
    if (run == 0)
        return;
    report->ordinal = started;
    report->run = run;
    report->in_flush = flushing;
    const uint8_t *frame = ss_ring_find(ring, started, &len);
    if (frame != NULL)
        memcpy(report->frame_head, frame, sizeof report->frame_head);
}

/* Three crashes on one event make it a dead letter. True if this crash was a repeated one on
 * the same event. */
static bool blame_event(ss_supervised *w, ss_generation *p, ss_report *report) {
    ss_ring *ring = w->queue->ring;
    size_t len = 0;
    bool repeated = false;
    ss_lock_take(&w->queue->lock);
    find_in_flight(w, p, report);
    if (report->run == 1) { /* a run blames nobody; it is replayed one by one */
        repeated = w->poison == report->ordinal;
        w->poison_crashes = repeated ? w->poison_crashes + 1 : 1;
        w->poison = report->ordinal;
    }
    if (w->poison_crashes >= POISON_CRASHES) {
        const char *what =
            "an event crashed it three times: it is a dead letter, the plugin gets a GAP";
        uint8_t *frame = NULL;
        len = ss_ring_skip(ring, w->poison, SLIPSTREAM_GAP_DEAD_LETTER, &frame);
        if (len == 0)
            what = "an event crashed it three times, but too many dead letters wait already";
        else if (frame != NULL && slipstream_load_u16(frame + 6) == SLIPSTREAM_KIND_GAP)
            what = "a GAP crashed it three times: it is a dead letter, the plugin is not told";
        ss_dead_letter_write(w->supervisor->log, ss_supervised_log_id(w), w->dead_letter, frame,
                             len);
        free(frame);
        w->poison_crashes = 0;
        w->poison = 0;
        if (len > 0)
            w->info.dead_letters++;
        ss_supervised_log(w, SLIPSTREAM_LOG_ERROR, what);
    }
    ss_lock_release(&w->queue->lock);
    return repeated;
}

void ss_supervised_on_crash(ss_supervised *w, ss_generation *p, ss_report *report) {
    const bool repeated = blame_event(w, p, report);
    ss_supervised_keep_report(w, report);
    if (!repeated)
        w->crash_ns[w->crashes++ % CRASHES_MAX] = now_ns();
    w->info.restarts++;
}

int32_t ss_supervised_take_report(ss_supervised *w, ss_report *out) {
    int32_t status = SLIPSTREAM_NOT_FOUND;
    pthread_mutex_lock(&w->supervisor->lock);
    if (w->report_count > 0) {
        *out = *w->reports[0];
        free(w->reports[0]);
        w->report_count--;
        memmove(w->reports, w->reports + 1, w->report_count * sizeof w->reports[0]);
        status = SLIPSTREAM_OK;
    }
    pthread_mutex_unlock(&w->supervisor->lock);
    return status;
}
