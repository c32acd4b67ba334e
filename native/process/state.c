/* state: what is known of a worker, for whoever asks and waits. */
#include "process/supervised.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void ss_supervised_note_change(ss_supervised *w) {
    w->info.changes++;
    ss_os_condition_wake_all(&w->supervisor->changed);
}

void ss_supervised_show(ss_supervised *w, const char *reason) {
    const uint32_t state = w->at.state;
    w->info.since_ns = (int64_t)ss_os_wall_ns();
    snprintf(w->info.reason, sizeof w->info.reason, "%s", reason);
    /* Who cannot deliver must not hold up the broadcaster either. */
    if (state == SS_SUPERVISED_QUARANTINED)
        ss_queue_hold_nobody(w->queue, SLIPSTREAM_GAP_QUARANTINED);
    else
        ss_queue_hold_nobody(w->queue,
                             state == SS_SUPERVISED_FAILED ? SLIPSTREAM_GAP_PAUSED : 0);
}

void ss_supervised_expect(ss_supervised *w) {
    w->info.refusal = SS_REFUSED_NOTHING;
    w->info.status = SLIPSTREAM_OK;
    w->info.text[0] = w->info.hint[0] = '\0';
}

void ss_supervised_refuse(ss_supervised *w, const ss_event *event) {
    if (event->status != SLIPSTREAM_OK)
        w->info.status = event->status;
    if (w->info.refusal != SS_REFUSED_NOTHING)
        return;
    w->info.refusal = event->refusal;
    snprintf(w->info.text, sizeof w->info.text, "%s", event->text);
    snprintf(w->info.hint, sizeof w->info.hint, "%s", event->hint);
}

uint32_t ss_supervised_log_id(const ss_supervised *w) {
    return w->spec == NULL ? 0 : w->spec->values.log_id;
}

void ss_supervised_log(ss_supervised *w, uint32_t level, const char *text) {
    ss_log_queue_tell(w->supervisor->log, level, ss_supervised_log_id(w), text);
}

int32_t ss_supervised_wait(ss_supervised *w, uint64_t changes, uint32_t ms) {
    const uint64_t end = now_ns() + ms * MS;
    bool in_time = true;
    ss_os_mutex_lock(&w->supervisor->lock);
    while (w->info.changes == changes && in_time)
        in_time = ss_os_condition_wait(&w->supervisor->changed, &w->supervisor->lock, end);
    const bool changed = w->info.changes != changes;
    ss_os_mutex_unlock(&w->supervisor->lock);
    return changed ? SLIPSTREAM_OK : SLIPSTREAM_TIMEOUT;
}

void ss_supervised_describe(ss_supervised *w, ss_supervised_info *out) {
    const ss_supervised_info *info = &w->info;
    ss_os_mutex_lock(&w->supervisor->lock);
    memcpy(out, info, offsetof(ss_supervised_info, text)); /* of that, only what is used */
    snprintf(out->text, sizeof out->text, "%s", info->text);
    out->state = w->at.state;
    out->busy = w->at.plan != SS_PLAN_NONE;
    out->next_opened = ss_is_opened(&w->at);
    out->reports = w->report_count;
    ss_os_mutex_unlock(&w->supervisor->lock);
}

bool ss_supervised_claim(ss_supervised *w, uint32_t index, char *out, size_t room) {
    const char *found = NULL;
    ss_os_mutex_lock(&w->supervisor->lock);
    for (size_t at = 0; at < w->claims_len && found == NULL; at += strlen(w->claims + at) + 1)
        if (index-- == 0)
            found = w->claims + at;
    if (found != NULL)
        snprintf(out, room, "%s", found);
    ss_os_mutex_unlock(&w->supervisor->lock);
    return found != NULL;
}

int32_t ss_supervised_metric(ss_supervised *w, uint32_t index, ss_metric *out) {
    int32_t status = SLIPSTREAM_NOT_FOUND;
    memset(out, 0, sizeof *out);
    ss_os_mutex_lock(&w->supervisor->lock);
    if (index < w->metric_count) {
        const metric *m = &w->metrics[index]; /* never removed, names never change */
        out->name = m->name;
        out->label = m->label;
        out->is_gauge = m->is_gauge;
        if (m->is_gauge)
            memcpy(&out->gauge, &m->bits, sizeof out->gauge);
        else
            out->count = m->bits;
        status = SLIPSTREAM_OK;
    }
    ss_os_mutex_unlock(&w->supervisor->lock);
    return status;
}

static void keep_opened(ss_supervised *w, const ss_event *event) {
    ss_generation *p = w->next;
    const char *at = event->data + sizeof(ss_opened);
    const char *end = event->data + event->head->len;
    ss_opened opened;
    memcpy(&opened, event->data, sizeof opened);
    ss_copy_text(p->name, sizeof p->name, &at, end);
    ss_copy_text(p->version, sizeof p->version, &at, end);
    p->flags = opened.flags;
    if (ss_is_opened(&w->at)) {
        w->info.next_flags = p->flags;
        w->info.next_min_host_minor = opened.min_host_minor;
        snprintf(w->info.name, sizeof w->info.name, "%s", p->name);
        snprintf(w->info.version, sizeof w->info.version, "%s", p->version);
    }
}

static void keep_loaded(ss_generation *p, const ss_event *event) {
    const size_t len = event->head->len;
    p->kinds = event->head->number;
    p->claims = malloc(len + 1);
    if (p->claims != NULL) {
        memcpy(p->claims, event->data, len + 1); /* with the NUL behind it */
        p->claims_len = len;
    }
}

void ss_supervised_keep(ss_supervised *w, const ss_event *event) {
    w->next->deadline_ns = 0;
    if (event->type == SS_SAID_OPENED)
        keep_opened(w, event);
    else
        keep_loaded(w->next, event);
}
