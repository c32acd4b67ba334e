/* messages: what a worker tells the host. All of it is hostile. */
#include "process/supervised.h"

#include "base/text.h"
#include "consumer/consume.h"
#include "frame/dead_letter.h"
#include "plugin/status.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void copy_text(char *out, size_t room, const char **at, const char *end) {
    const char *text = ss_next_text(at, end);
    ss_text_escape(out, room, text, strlen(text));
}

static void on_refused(ss_supervised *w, const ss_message *head, const char *data, const char *end,
                       bool failed_load) {
    char text[SS_MESSAGE_MAX];
    char hint[sizeof w->hint];
    copy_text(text, sizeof text, &data, end);
    copy_text(hint, sizeof hint, &data, end);
    ss_supervised_refuse(w, failed_load ? SS_REFUSED_NOTHING : (uint32_t)head->number, text, hint);
    if (w->plan != PLAN_START && failed_load)
        w->info.status = (int32_t)head->number;
    ss_supervised_next_failed(w);
}

static void on_event_failed(ss_supervised *w, ss_generation *p, uint64_t ordinal, const char *data,
                            size_t len) {
    int32_t status = SLIPSTREAM_FAILED;
    size_t frame_len = 0;
    char line[SLIPSTREAM_ERROR_MAX * 2 + 256];
    if (len >= sizeof status) {
        memcpy(&status, data, sizeof status);
        data += sizeof status;
        len -= sizeof status;
    }
    ss_lock_take(&w->queue->lock);
    const uint8_t *frame = ss_ring_find(w->queue->ring, ordinal, &frame_len);
    ss_dead_letter_write(w->supervisor->log, ss_supervised_log_id(w), w->dead_letter, frame,
                         frame_len);
    ss_lock_release(&w->queue->lock);
    snprintf(line, sizeof line, "on_broadcast returned %s (%d) for ordinal %llu%s%.*s",
             ss_status_name(status), (int)status, (unsigned long long)ordinal, len > 0 ? ": " : "",
             (int)len, data);
    ss_supervised_log(w, SLIPSTREAM_LOG_ERROR, line);
    ss_generation_say(p, SS_TO_WORKER_NOTED, ordinal, NULL, 0);
}

static void on_opened(ss_supervised *w, ss_generation *p, const char *data, size_t len) {
    ss_opened opened;
    if (p != w->next || p->phase != SS_PHASE_OPENING || len < sizeof opened + 2)
        return;
    memcpy(&opened, data, sizeof opened);
    const char *end = data + len;
    data += sizeof opened;
    copy_text(p->name, sizeof p->name, &data, end);
    copy_text(p->version, sizeof p->version, &data, end);
    p->flags = opened.flags;
    p->phase = SS_PHASE_OPENED;
    p->deadline_ns = 0;
    if (w->plan == PLAN_START) {
        ss_generation_say_load(p, w->load_reason);
    } else {
        w->info.next_opened = 1;
        w->info.next_flags = p->flags;
        snprintf(w->name, sizeof w->name, "%s", p->name);
        snprintf(w->version, sizeof w->version, "%s", p->version);
    }
    ss_supervised_note_change(w);
}

static void on_loaded(ss_supervised *w, ss_generation *p, const ss_message *head, const char *data,
                      size_t len) {
    if (p != w->next || p->phase != SS_PHASE_LOADING)
        return;
    p->kinds = head->number;
    p->phase = SS_PHASE_LOADED;
    p->deadline_ns = 0;
    p->claims = malloc(len + 1);
    if (p->claims != NULL) {
        memcpy(p->claims, data, len);
        p->claims[len] = '\0';
        p->claims_len = len;
    }
    if (w->current == NULL)
        ss_supervised_run_next(w);
    else
        ss_supervised_drain(w, w->spec->values.unload_timeout_ms);
}

static void on_ended(ss_supervised *w, ss_generation *p, uint32_t reason) {
    if (p != w->current || (p->phase != SS_PHASE_RUNNING && p->phase != SS_PHASE_DRAINING))
        return;
    if (reason == SS_CONSUMED_BOUNDARY && p->phase == SS_PHASE_RUNNING) {
        ss_generation_kill(p, "it says that it has stopped, which nobody asked for");
        return;
    }
    if (w->stop_timeout_ms == 0)
        w->stop_timeout_ms = w->spec->values.unload_timeout_ms;
    switch (reason) {
    case SS_CONSUMED_BOUNDARY:
        ss_supervised_say_unload(w, p);
        break;
    case SS_CONSUMED_FATAL:
        ss_supervised_set_state(w, SS_SUPERVISED_FAILED, "on_broadcast returned FATAL");
        ss_supervised_say_unload(w, p);
        break;
    case SS_CONSUMED_PANIC:
        ss_supervised_set_state(w, SS_SUPERVISED_FAILED, "on_broadcast returned PANIC");
        ss_supervised_say_exit(w, p);
        break;
    default:
        ss_generation_kill(p, "it found its ring unreadable");
    }
}

static void on_metric(ss_supervised *w, const ss_message *head, const char *data, size_t len) {
    metric new = {.bits = head->number};
    if (len < sizeof new.is_gauge + 2)
        return;
    memcpy(&new.is_gauge, data, sizeof new.is_gauge);
    const char *end = data + len;
    data += sizeof new.is_gauge;
    copy_text(new.name, sizeof new.name, &data, end);
    copy_text(new.label, sizeof new.label, &data, end);
    for (uint32_t i = 0; i <= w->metric_count && i < METRICS_MAX; i++) {
        metric *known = &w->metrics[i];
        if (i == w->metric_count)
            w->metric_count++;
        else if (strcmp(known->name, new.name) != 0 || strcmp(known->label, new.label) != 0 ||
                 known->is_gauge != new.is_gauge)
            continue;
        *known = new;
        return;
    }
}

bool ss_supervised_on_message(ss_supervised *w, ss_generation *p, const ss_message *head,
                              const char *data) {
    const size_t len = head->len;
    switch (head->type) {
    case SS_TO_HOST_LOG:
        ss_last_lines_keep(&p->last, data, len);
        ss_log_queue_put(w->supervisor->log,
                         head->number < SLIPSTREAM_LOG_PLUGIN_MISBEHAVING
                             ? (uint32_t)head->number
                             : SLIPSTREAM_LOG_PLUGIN_MISBEHAVING,
                         p->spec->values.log_id, data, len);
        return true;
    case SS_TO_HOST_OPENED:
        on_opened(w, p, data, len);
        return true;
    case SS_TO_HOST_REFUSED:
    case SS_TO_HOST_FAILED_LOAD:
        if (p != w->next)
            return true;
        on_refused(w, head, data, data + len, head->type == SS_TO_HOST_FAILED_LOAD);
        return false;
    case SS_TO_HOST_LOADED:
        on_loaded(w, p, head, data, len);
        return true;
    case SS_TO_HOST_ENDED:
        on_ended(w, p, (uint32_t)head->number);
        return true;
    case SS_TO_HOST_UNLOADED:
        if ((int32_t)head->number != SLIPSTREAM_OK)
            ss_log_queue_put(w->supervisor->log, SLIPSTREAM_LOG_ERROR, p->spec->values.log_id, data,
                             strnlen(data, len));
        if (p == w->current && p->phase == SS_PHASE_UNLOADING)
            ss_supervised_say_exit(w, p);
        return true;
    case SS_TO_HOST_EVENT_FAILED:
        if (p == w->current)
            on_event_failed(w, p, head->number, data, len);
        return true;
    case SS_TO_HOST_METRIC:
        on_metric(w, head, data, len);
        return true;
    default:
        ss_generation_kill(p, "it sent a message of an unknown type");
        return true;
    }
}
