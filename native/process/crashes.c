/* crashes: what was in flight when a worker crashed, the reports of it, and taking out an event
 * that is to blame (blame says which). */
#include "process/supervised.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

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
    /* Here it stands in the log, between the last words and what follows from it. */
    ss_log_queue_tell(w->supervisor->log, SS_LOG_REPORT, ss_supervised_log_id(w), "");
}

/* Both in the report and for who is to blame. */
ss_in_flight ss_supervised_find_in_flight(ss_supervised *w, const ss_generation *p,
                                          ss_report *report) {
    ss_ring *ring = w->queue->ring;
    ss_in_flight found = {0};
    ss_lock_take(&w->queue->lock);
    const uint64_t key = ss_ring_get_head(ring)->key;
    const uint64_t acked = ss_ring_acked(ring);
    uint64_t started = 0;
    uint64_t run = 0;
    size_t len = 0;
    report->acknowledged = acked;
    if (ss_ring_get_control(ring) == p->control &&
        ss_hear(&p->control->started, key, SS_PLACE_STARTED, &started) &&
        ss_hear(&p->control->run, key, SS_PLACE_RUN, &run) && started > acked &&
        started <= ss_ring_last(ring)) {
        /* A flush that hangs, or is killed, says nothing of events: it may be what they go to. */
        const bool flushing =
            run == 0 && report->has_fault != 0 && p->kill_reason[0] == '\0' &&
            atomic_load_explicit(&p->control->flushing, memory_order_relaxed) != 0;
        found = (ss_in_flight){acked, started, flushing ? started - acked : run, flushing};
    }
    if (found.run != 0) {
        report->ordinal = found.last;
        report->run = found.run;
        report->in_flush = found.flushing;
        const uint8_t *frame = ss_ring_find(ring, found.last, &len);
        if (frame != NULL)
            memcpy(report->frame_head, frame, sizeof report->frame_head);
    }
    ss_lock_release(&w->queue->lock);
    return found;
}

void ss_supervised_skip(ss_supervised *w, uint64_t ordinal) {
    const char *what =
        "an event crashed it three times: it is a dead letter, the plugin gets a GAP";
    char text[512];
    uint8_t *frame = NULL;
    slipstream_frame view;
    slipstream_gap gap;
    ss_lock_take(&w->queue->lock);
    const size_t len = ss_ring_skip(w->queue->ring, ordinal, SLIPSTREAM_GAP_DEAD_LETTER, &frame);
    const uint32_t attempts = ss_ring_get_head(w->queue->ring)->attempt;
    ss_lock_release(&w->queue->lock);
    uint64_t first = ordinal;
    if (len == 0) {
        what = "an event crashed it three times, but too many dead letters wait already";
    } else if (frame != NULL && slipstream_read_frame(frame, len, &view) == SLIPSTREAM_OK &&
               slipstream_read_gap(&view, &gap) == SLIPSTREAM_OK) {
        what = "a GAP crashed it three times: it is a dead letter, the plugin is not told";
        first = gap.first;
    }
    snprintf(text, sizeof text, "it crashed the plugin again and again: %s",
             w->report_count > 0 ? w->reports[w->report_count - 1]->reason : "");
    ss_supervised_log(w, SLIPSTREAM_LOG_ERROR, what);
    if (len > 0)
        ss_refusals_keep_crash(&w->refusals,
                               &(ss_letter){ordinal, SLIPSTREAM_OK, attempts, text, strlen(text),
                                            frame, len},
                               first);
    free(frame);
    w->info.dead_letters += len > 0;
}

int32_t ss_supervised_take_report(ss_supervised *w, ss_report *out) {
    int32_t status = SLIPSTREAM_NOT_FOUND;
    ss_os_mutex_lock(&w->supervisor->lock);
    if (w->report_count > 0) {
        *out = *w->reports[0];
        free(w->reports[0]);
        w->report_count--;
        memmove(w->reports, w->reports + 1, w->report_count * sizeof w->reports[0]);
        status = SLIPSTREAM_OK;
    }
    ss_os_mutex_unlock(&w->supervisor->lock);
    return status;
}
