/* plans: starting, stopping and replacing the processes of a worker. */
#include "process/supervised.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void spawn_next(ss_supervised *w, ss_kept_spec *spec) {
    char why[512];
    w->next = ss_generation_start(w->supervisor->program, spec, w->queue->ring, w->queue->overflow,
                                  why, sizeof why);
    if (w->next == NULL) {
        ss_supervised_refuse(w, SS_REFUSED_CANNOT_OPEN, why,
                             "check the limits on processes, descriptors and memory: ulimit -a");
        ss_supervised_next_failed(w);
    }
    ss_supervised_note_change(w);
}

static void start_from(ss_supervised *w, ss_kept_spec *spec, uint32_t reason) {
    w->load_reason = reason;
    ss_supervised_set_plan(w, PLAN_START);
    spawn_next(w, spec);
}

void ss_supervised_run_next(ss_supervised *w) {
    ss_generation *p = w->next;
    ss_lock_take(&w->queue->lock);
    ss_queue_attach_control(w->queue, p->control);
    ss_ring_head *head = ss_ring_get_head(w->queue->ring);
    head->flush_each = w->poison_crashes >= POISON_CRASHES - 1 || w->flush_crashes >= 2;
    ss_queue_clear_stop(w->queue);
    ss_ring_prepare_resume(w->queue->ring);
    ss_lock_release(&w->queue->lock);
    w->current = p;
    w->next = NULL;
    p->phase = SS_PHASE_RUNNING;
    p->deadline_ns = 0;
    p->sane_ns = now_ns();
    w->restart_at_ns = 0;
    if (w->spec != p->spec) {
        ss_kept_spec_release(w->spec);
        w->spec = p->spec;
        w->spec->references++;
    }
    w->info.flags = p->flags;
    w->info.kinds = p->kinds;
    w->info.pid = p->pid;
    w->info.generation++;
    w->failed_starts = 0;
    snprintf(w->name, sizeof w->name, "%s", p->name);
    snprintf(w->version, sizeof w->version, "%s", p->version);
    free(w->claims);
    w->claims = p->claims;
    w->claims_len = p->claims_len;
    p->claims = NULL;
    ss_generation_say(p, SS_TO_WORKER_RUN, 0, NULL, 0);
    ss_supervised_set_plan(w, PLAN_NONE);
    ss_supervised_set_state(w, SS_SUPERVISED_RUNNING, "");
}

void ss_supervised_drain(ss_supervised *w, uint32_t timeout_ms) {
    ss_generation *p = w->current;
    w->handing_over = w->plan == PLAN_RELOAD;
    ss_lock_take(&w->queue->lock);
    ss_ring_tell_lost(w->queue->ring);
    if (!w->handing_over)
        atomic_store(&ss_ring_get_head(w->queue->ring)->paused, 0);
    ss_queue_want_stop(w->queue, ss_ring_last(w->queue->ring), false);
    ss_lock_release(&w->queue->lock);
    p->phase = SS_PHASE_DRAINING;
    p->hurried = false;
    w->stop_timeout_ms = timeout_ms;
    p->deadline_ns = now_ns() + timeout_ms * MS;
}

void ss_supervised_hurry(ss_supervised *w) {
    ss_lock_take(&w->queue->lock);
    ss_queue_want_stop(w->queue, 0, true);
    ss_lock_release(&w->queue->lock);
    w->current->hurried = true;
    w->current->deadline_ns = now_ns() + w->stop_timeout_ms * MS;
}

void ss_supervised_say_unload(ss_supervised *w, ss_generation *p) {
    p->phase = SS_PHASE_UNLOADING;
    p->deadline_ns = now_ns() + w->stop_timeout_ms * MS;
    ss_generation_say(p, SS_TO_WORKER_UNLOAD, w->stop_timeout_ms, NULL, 0);
}

void ss_supervised_say_exit(ss_supervised *w, ss_generation *p) {
    p->phase = SS_PHASE_EXITING;
    p->deadline_ns = now_ns() + (w->stop_timeout_ms != 0 ? w->stop_timeout_ms : 1000) * MS;
    ss_generation_say(p, SS_TO_WORKER_EXIT, 0, NULL, 0);
}

/* The current process is gone, or there is none: what now? `problem` is how it ended, "" if
 * well. */
static void go_on(ss_supervised *w, const char *problem) {
    if (w->plan == PLAN_STOP) {
        ss_supervised_set_plan(w, PLAN_NONE);
        ss_supervised_set_state(w, SS_SUPERVISED_UNLOADED, problem);
    } else if (w->plan == PLAN_RELOAD && w->next != NULL) {
        if (w->next->phase == SS_PHASE_LOADED)
            ss_supervised_run_next(w);
        else if (w->next->phase == SS_PHASE_OPENED)
            ss_generation_say_load(w->next, w->load_reason);
    }
}

static void drop_next(ss_supervised *w) {
    ss_generation_free(w->next, w->queue->ring);
    w->next = NULL;
    w->info.next_opened = 0;
}

void ss_supervised_next_failed(ss_supervised *w) {
    const bool before = w->info.generation > 0;
    drop_next(w);
    if (w->handing_over && w->current == NULL) {
        ss_supervised_log(w, SLIPSTREAM_LOG_ERROR,
                          "the new version did not start; the old one is started again");
        start_from(w, w->spec, SLIPSTREAM_LOAD_RELOAD);
    } else if (w->plan == PLAN_START && before) {
        ss_supervised_set_plan(w, PLAN_NONE);
        w->failed_starts++;
        ss_supervised_log(w, SLIPSTREAM_LOG_ERROR, w->start_problem);
        ss_supervised_schedule_restart(w, w->start_problem);
    } else {
        if (!before)
            ss_supervised_set_state(w, SS_SUPERVISED_FAILED, w->text);
        ss_supervised_set_plan(w, PLAN_NONE);
    }
}

void ss_supervised_on_end(ss_supervised *w, ss_generation *p, ss_report *report) {
    ss_generation_drain(p, w->supervisor->log);
    ss_generation_end_lines(p, w->supervisor->log);
    if (p == w->next) {
        char text[512];
        snprintf(text, sizeof text, "%s: the worker %s while it was %s", p->spec->values.shown,
                 report->reason, p->phase == SS_PHASE_OPENING ? "opened" : "loaded");
        ss_supervised_refuse(w, SS_REFUSED_CANNOT_OPEN, text,
                             "see its crash report, and run it in a debugger");
        ss_supervised_keep_report(w, report);
        ss_supervised_next_failed(w);
        return;
    }
    const bool expected = p->phase == SS_PHASE_EXITING && report->signal == 0 &&
                          report->exit_code <= 0 && p->kill_reason[0] == '\0';
    const bool failed = w->info.state == SS_SUPERVISED_FAILED;
    if (!expected)
        ss_supervised_on_crash(w, p, report);
    w->current = NULL;
    w->info.pid = 0;
    ss_generation_free(p, w->queue->ring);
    if (w->plan == PLAN_STOP || w->handing_over)
        go_on(w, expected ? "" : report->reason);
    else if (!failed) /* during a reload only if that comes to nothing */
        ss_supervised_schedule_restart(w, report->reason);
    ss_supervised_note_change(w);
}

void ss_supervised_serve_requests(ss_supervised *w, uint64_t now) {
    if (w->dying) {
        drop_next(w);
        ss_generation_free(w->current, w->queue->ring);
        w->current = NULL;
        w->gone = true;
        ss_supervised_note_change(w);
        return;
    }
    if (w->prepared != NULL) {
        ss_kept_spec *spec = w->prepared;
        w->prepared = NULL;
        if (w->spec == NULL) {
            w->spec = spec;
            spec->references++;
        }
        spawn_next(w, spec);
        ss_kept_spec_release(spec);
    }
    if (w->cancelled) {
        w->cancelled = false;
        if (w->next != NULL && w->next->phase <= SS_PHASE_OPENED && w->plan == PLAN_RELOAD) {
            drop_next(w);
            ss_supervised_set_plan(w, PLAN_NONE);
        }
    }
    if (w->switching && w->next != NULL && w->next->phase == SS_PHASE_OPENED) {
        w->switching = false;
        w->info.next_opened = 0;
        if (w->current == NULL || w->overlap)
            ss_generation_say_load(w->next, w->load_reason);
        else
            ss_supervised_drain(w, w->spec->values.unload_timeout_ms);
    }
    if (w->plan == PLAN_STOP) {
        w->restart_at_ns = 0;
        if (w->next != NULL)
            drop_next(w);
        if (w->current == NULL)
            go_on(w, "");
        else if (w->current->phase == SS_PHASE_RUNNING)
            ss_supervised_drain(w, w->stop_timeout_ms);
    }
    const bool due = w->restart_at_ns != 0 && now >= w->restart_at_ns;
    if (due && w->plan == PLAN_NONE && w->info.state == SS_SUPERVISED_BACKOFF) {
        w->restart_at_ns = 0;
        ss_supervised_set_state(w, SS_SUPERVISED_LOADING, "restarting after a crash");
        start_from(w, w->spec, SLIPSTREAM_LOAD_RESTART);
    }
}
