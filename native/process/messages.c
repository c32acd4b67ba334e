/* messages: what a worker tells the host. All of it is hostile. */
#include "process/supervised.h"

#include "base/text.h"
#include "plugin/status.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void on_refused(ss_supervised *w, const ss_message *head, const char *data) {
    const char *end = data + head->len;
    const bool failed_load = head->type == SS_TO_HOST_FAILED_LOAD;
    ss_event event = {.type = SS_SAID_REFUSED};
    char text[SS_MESSAGE_MAX];
    char hint[sizeof w->info.hint];
    ss_show_text(text, sizeof text, &data, end);
    ss_show_text(hint, sizeof hint, &data, end);
    if (failed_load)
        event.status = (int32_t)head->number;
    else
        event.refusal = (uint32_t)head->number;
    ss_supervised_fail_next(w, event, text, hint);
}

static void on_log(ss_supervised *w, ss_generation *p, const ss_message *head, const char *data) {
    const uint32_t level = head->number < SLIPSTREAM_LOG_PLUGIN_MISBEHAVING
                               ? (uint32_t)head->number
                               : SLIPSTREAM_LOG_PLUGIN_MISBEHAVING;
    ss_logged logged;
    if (head->len < sizeof logged)
        return;
    memcpy(&logged, data, sizeof logged);
    data += sizeof logged;
    const size_t len = head->len - sizeof logged;
    ss_last_lines_keep(&p->last, data, len);
    ss_log_queue_relay(w->supervisor->log, logged.time_ns, level, p->spec->values.log_id, data, len,
                       logged.whole);
}

/* False if it makes no sense. */
static bool on_refusal(ss_supervised *w, uint64_t ordinal, const char *data, size_t len) {
    ss_refused_event refusal;
    if (len < sizeof refusal)
        return false;
    memcpy(&refusal, data, sizeof refusal);
    return ss_refusals_add(&w->refusals,
                           &(ss_letter){ordinal, refusal.status, refusal.attempts,
                                        data + sizeof refusal, len - sizeof refusal, NULL, 0},
                           refusal.number);
}

static void on_metric(ss_supervised *w, const ss_message *head, const char *data, size_t len) {
    metric new = {.bits = head->number};
    if (len < sizeof new.is_gauge + 2)
        return;
    memcpy(&new.is_gauge, data, sizeof new.is_gauge);
    const char *end = data + len;
    data += sizeof new.is_gauge;
    ss_copy_text(new.name, sizeof new.name, &data, end);
    ss_copy_text(new.label, sizeof new.label, &data, end);
    for (uint32_t i = 0; i <= w->metric_count && i < METRICS_MAX; i++) {
        metric *known = &w->metrics[i];
        if (i == w->metric_count)
            w->metric_count++;
        else if (strcmp(known->name, new.name) != 0 || strcmp(known->label, new.label) != 0)
            continue;
        *known = new;
        return;
    }
}

/* on_unload has returned; what is not success is said as in the other modes, by whoever asked for
 * it: in a reload that is nobody. */
static void note_unload(ss_supervised *w, const ss_generation *p, int32_t status, const char *data,
                        size_t len) {
    char text[2 * SLIPSTREAM_ERROR_MAX];
    w->unload_problem[0] = '\0';
    if (status == SLIPSTREAM_OK)
        return;
    ss_text_show(text, sizeof text, data, strnlen(data, len), NULL);
    snprintf(w->unload_problem, sizeof w->unload_problem, "on_unload failed (%s (%d)): %s",
             ss_status_name(status), (int)status, text);
    if (w->at.handing_over)
        ss_log_queue_tell(w->supervisor->log, SLIPSTREAM_LOG_ERROR, p->spec->values.log_id,
                          w->unload_problem);
}

bool ss_supervised_on_message(ss_supervised *w, ss_generation *p, const ss_message *head,
                              const char *data) {
    const size_t len = head->len;
    ss_event event = {.of_next = p == w->next, .head = head, .data = data};
    switch (head->type) {
    case SS_TO_HOST_LOG:
        on_log(w, p, head, data);
        return true;
    case SS_TO_HOST_REFUSAL:
        if (p != w->current || on_refusal(w, head->number, data, len))
            return true;
        event.type = SS_SAID_NONSENSE;
        break;
    case SS_TO_HOST_METRIC:
        on_metric(w, head, data, len);
        return true;
    case SS_TO_HOST_REFUSED:
    case SS_TO_HOST_FAILED_LOAD:
        if (p == w->next)
            on_refused(w, head, data);
        return !event.of_next;
    case SS_TO_HOST_OPENED:
        if (len < sizeof(ss_opened))
            return true;
        event.type = SS_SAID_OPENED;
        break;
    case SS_TO_HOST_LOADED:
        event.type = SS_SAID_LOADED;
        break;
    case SS_TO_HOST_ENDED:
        event.type = SS_SAID_ENDED;
        event.number = (uint32_t)head->number;
        break;
    case SS_TO_HOST_UNLOADED:
        note_unload(w, p, (int32_t)head->number, data, len);
        event.type = SS_SAID_UNLOADED;
        break;
    default:
        event.type = SS_SAID_NONSENSE;
    }
    ss_supervised_step(w, event);
    return true;
}
