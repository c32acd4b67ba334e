/* actions: does what was decided. */
#include "process/supervised.h"

#include "base/text.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { EXIT_MS = 1000 };

/* ---- The next generation ------------------------------------------------------------- */

static void spawn(ss_supervised *w, ss_kept_spec *spec) {
    ss_no_start why;
    w->next = ss_generation_start(w->supervisor->program, spec, w->queue->ring,
                                  w->queue->overflow, &why);
    if (w->next == NULL)
        ss_supervised_fail_next(
            w, (ss_event){.type = SS_NOT_SPAWNED, .refusal = SS_REFUSED_CANNOT_OPEN}, why.text,
            why.hint);
}

static void spawn_prepared(ss_supervised *w) {
    ss_kept_spec *spec = w->prepared;
    w->prepared = NULL;
    if (w->spec == NULL) {
        w->spec = spec;
        spec->references++;
    }
    spawn(w, spec);
    ss_kept_spec_release(spec);
}

static void drop(ss_supervised *w, ss_generation **which) {
    ss_generation_free(*which, w->queue->ring);
    *which = NULL;
}

static void run_next(ss_supervised *w, bool flush_each) {
    ss_generation *p = w->next;
    ss_lock_take(&w->queue->lock);
    ss_queue_attach_control(w->queue, p->control);
    ss_ring_get_head(w->queue->ring)->flush_each = flush_each;
    ss_queue_clear_stop(w->queue);
    const uint64_t again = ss_ring_prepare_resume(w->queue->ring);
    const uint64_t acked = ss_ring_acked(w->queue->ring);
    ss_lock_release(&w->queue->lock);
    if (w->at.load_reason == SLIPSTREAM_LOAD_RESTART)
        ss_log_queue_format(w->supervisor->log, SLIPSTREAM_LOG_WARN, p->spec->values.log_id,
                            "restarted after it %s; %llu %s delivered again from ordinal %llu on",
                            w->last_end, (unsigned long long)again,
                            ss_text_form(again, "event is", "events are"),
                            (unsigned long long)acked + 1);
    w->current = p;
    w->next = NULL;
    p->deadline_ns = 0;
    p->sane_ns = now_ns();
    if (w->spec != p->spec) {
        ss_kept_spec_release(w->spec);
        w->spec = p->spec;
        w->spec->references++;
    }
    w->info.flags = p->flags;
    w->info.kinds = p->kinds;
    w->info.pid = p->pid;
    w->info.generation++;
    snprintf(w->info.name, sizeof w->info.name, "%s", p->name);
    snprintf(w->info.version, sizeof w->info.version, "%s", p->version);
    free(w->claims);
    w->claims = p->claims;
    w->claims_len = p->claims_len;
    p->claims = NULL;
    ss_generation_say(p, SS_TO_WORKER_RUN, 0, NULL, 0);
}

/* ---- The current generation ---------------------------------------------------------- */

static void expect_within(ss_supervised *w, uint32_t ms) {
    w->current->deadline_ns = ms == SLIPSTREAM_NO_TIMEOUT ? 0 : now_ns() + ms * MS;
}

/* How long its end may take; where nobody has said so, as long as its config says. */
static uint32_t end_ms(const ss_supervised *w) {
    return w->has_stop_timeout ? w->stop_timeout_ms : w->spec->values.unload_timeout_ms;
}

static void set_stop_timeout(ss_supervised *w, uint32_t ms) {
    w->has_stop_timeout = true;
    w->stop_timeout_ms = ms;
}

/* To the last event that was broadcast. What is held back by a pause is delivered before an
 * unload, and left to the next one at a reload. */
static void drain(ss_supervised *w) {
    if (w->at.handing_over)
        set_stop_timeout(w, w->spec->values.unload_timeout_ms);
    ss_lock_take(&w->queue->lock);
    ss_ring_tell_lost(w->queue->ring);
    /* Asked first: what is tried for the first time from now on is tried once more. */
    const bool retrying = ss_queue_is_retrying(w->queue);
    if (!w->at.handing_over)
        atomic_store(&ss_ring_get_head(w->queue->ring)->paused, 0);
    ss_queue_want_stop(w->queue, ss_ring_last(w->queue->ring), retrying);
    ss_lock_release(&w->queue->lock);
    /* The rest of the time is for the call under way. */
    expect_within(w, retrying ? 0 : end_ms(w) - end_ms(w) / 2);
}

/* It shall end after the call that is under way; the rest stays in the ring. */
static void hurry(ss_supervised *w) {
    ss_lock_take(&w->queue->lock);
    const bool retrying = ss_queue_is_retrying(w->queue);
    ss_queue_want_stop(w->queue, 0, true);
    ss_lock_release(&w->queue->lock);
    expect_within(w, retrying ? end_ms(w) : end_ms(w) / 2);
}

static void say_unload(ss_supervised *w) {
    expect_within(w, end_ms(w));
    ss_generation_say(w->current, SS_TO_WORKER_UNLOAD, end_ms(w), NULL, 0);
}

static void say_exit(ss_supervised *w) {
    expect_within(w, end_ms(w) != 0 ? end_ms(w) : EXIT_MS);
    ss_generation_say(w->current, SS_TO_WORKER_EXIT, 0, NULL, 0);
}

/* ---- Deciding and doing ---------------------------------------------------------------- */

static void quarantine(ss_supervised *w, const ss_action *action) {
    char reason[sizeof w->info.reason];
    snprintf(reason, sizeof reason, "%u %s within %.0f s, the last: %s",
             (uint32_t)action->number, ss_text_form(action->number, "crash", "crashes"),
             (double)w->spec->values.window_ms / 1000, action->text);
    ss_supervised_log(w, SLIPSTREAM_LOG_ERROR,
                      "quarantined: too many crashes; it waits for resume");
    ss_supervised_show(w, reason);
}

static const char *reason_of(const ss_supervised *w, const ss_action *action) {
    if (action->text == NULL)
        return w->info.text;
    const bool ended = w->at.state == SS_SUPERVISED_UNLOADED && action->text[0] == '\0';
    return ended ? w->unload_problem : action->text;
}

static void perform(ss_supervised *w, const ss_event *event, const ss_action *action) {
    switch (action->type) {
    case SS_DO_SPAWN_PREPARED:
        spawn_prepared(w);
        break;
    case SS_DO_SPAWN_AGAIN:
        spawn(w, w->spec);
        break;
    case SS_DO_KEEP:
        ss_supervised_keep(w, event);
        break;
    case SS_DO_LOAD:
        ss_generation_say_load(w->next, (uint32_t)action->number);
        break;
    case SS_DO_RUN:
        run_next(w, action->number != 0);
        break;
    case SS_DO_DRAIN:
        drain(w);
        break;
    case SS_DO_HURRY:
        hurry(w);
        break;
    case SS_DO_UNLOAD:
        say_unload(w);
        break;
    case SS_DO_EXIT:
        say_exit(w);
        break;
    case SS_DO_KILL_CURRENT:
        ss_generation_kill(w->current, action->text);
        break;
    case SS_DO_KILL_NEXT:
        ss_generation_kill(w->next, action->text);
        break;
    case SS_DO_DROP_CURRENT:
        drop(w, &w->current);
        w->info.pid = 0;
        break;
    case SS_DO_DROP_NEXT:
        drop(w, &w->next);
        break;
    case SS_DO_EXPECT:
        ss_supervised_expect(w);
        break;
    case SS_DO_REFUSE:
        ss_supervised_refuse(w, event);
        break;
    case SS_DO_REPORT:
        ss_supervised_keep_report(w, event->report);
        if (!event->of_next)
            snprintf(w->last_end, sizeof w->last_end, "%s", event->report->reason);
        w->info.restarts += !event->of_next;
        break;
    case SS_DO_SKIP:
        ss_supervised_skip(w, action->number);
        break;
    case SS_DO_LOG:
        ss_supervised_log(w, SLIPSTREAM_LOG_ERROR, action->text);
        break;
    case SS_DO_SHOW:
        ss_supervised_show(w, reason_of(w, action));
        break;
    case SS_DO_QUARANTINE:
        quarantine(w, action);
        break;
    case SS_ACTION_TYPES:
        break;
    }
}

ss_decision ss_supervised_step(ss_supervised *w, ss_event event) {
    ss_supervisor *self = w->supervisor;
    event.now_ns = now_ns();
    event.spec = w->spec == NULL ? NULL : &w->spec->values;
    self->random = self->random * 6364136223846793005 + 1442695040888963407;
    event.random = self->random >> 33; /* the low bits of such a row are no good */
    const ss_decision decision = ss_decide(&w->at, &event);
    for (uint32_t i = 0; i < decision.count; i++)
        perform(w, &event, &decision.actions[i]);
    if (decision.count > 0 || decision.accepted || decision.acted)
        ss_supervised_note_change(w);
    return decision;
}

void ss_supervised_fail_next(ss_supervised *w, ss_event event, const char *text,
                             const char *hint) {
    char problem[512];
    snprintf(problem, sizeof problem, "it could not be started again: %s", text);
    event.of_next = true;
    event.text = text;
    event.hint = hint;
    event.problem = problem;
    ss_supervised_step(w, event);
}
