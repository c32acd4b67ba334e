#include "process/step.h"

#include "consumer/consume.h"
#include "process/supervisor.h"

static void act(ss_decision *d, enum ss_action_type type, const char *text, uint64_t number) {
    d->actions[d->count++] = (ss_action){type, text, number};
}

static void set_plan(ss_standing *at, enum ss_plan plan) {
    at->plan = plan;
    at->switching = false;
    at->handing_over = false;
}

static void show(ss_standing *at, ss_decision *d, uint32_t state, const char *why) {
    at->state = state;
    act(d, SS_DO_SHOW, why, 0);
}

/* ---- The next generation ------------------------------------------------------------- */

static void spawn_again(ss_standing *at, ss_decision *d, uint32_t reason) {
    set_plan(at, SS_PLAN_START);
    at->load_reason = reason;
    at->next = SS_PHASE_OPENING;
    act(d, SS_DO_SPAWN_AGAIN, NULL, 0);
}

static void load_next(ss_standing *at, ss_decision *d) {
    at->next = SS_PHASE_LOADING;
    act(d, SS_DO_LOAD, NULL, at->load_reason);
}

static void run_next(ss_standing *at, ss_decision *d) {
    at->current = SS_PHASE_RUNNING;
    at->next = SS_PHASE_NONE;
    at->has_run = true;
    at->restart_at_ns = 0;
    at->blame.failed_starts = 0;
    at->blame.never_started = 0;
    act(d, SS_DO_RUN, NULL, ss_blame_wants_flushes(&at->blame));
    set_plan(at, SS_PLAN_NONE);
    show(at, d, SS_SUPERVISED_RUNNING, "");
}

static void drop_next(ss_standing *at, ss_decision *d) {
    at->next = SS_PHASE_NONE;
    act(d, SS_DO_DROP_NEXT, NULL, 0);
}

/* Nothing runs any more, and nobody has asked for that. */
static void restart_later(ss_standing *at, const ss_event *e, const char *why, ss_decision *d) {
    const uint32_t recent = ss_blame_recent(&at->blame, e->spec, e->now_ns);
    if (e->spec->max_crashes != 0 && recent >= e->spec->max_crashes) {
        at->restart_at_ns = 0;
        at->state = SS_SUPERVISED_QUARANTINED;
        act(d, SS_DO_QUARANTINE, why, recent);
    } else {
        at->restart_at_ns = e->now_ns +
            ss_blame_delay_ns(e->spec, recent + at->blame.never_started, e->random);
        show(at, d, SS_SUPERVISED_BACKOFF, why);
    }
}

/* It will not serve. A start that nobody asked for, after a crash, says nothing to who asked for
 * something before: whoever did may not have looked yet. */
static void next_failed(ss_standing *at, const ss_event *e, ss_decision *d) {
    if (at->plan != SS_PLAN_START)
        act(d, SS_DO_REFUSE, NULL, 0);
    if (e->type == SS_HAS_ENDED)
        act(d, SS_DO_REPORT, NULL, 0);
    drop_next(at, d);
    if (at->handing_over && at->current == SS_PHASE_NONE) {
        act(d, SS_DO_LOG, "the new version did not start; the old one is started again", 0);
        spawn_again(at, d, SLIPSTREAM_LOAD_RELOAD);
    } else if (at->plan == SS_PLAN_START) {
        set_plan(at, SS_PLAN_NONE);
        if (e->type == SS_NOT_SPAWNED)
            at->blame.never_started++;
        else
            at->blame.failed_starts++;
        act(d, SS_DO_LOG, e->problem, 0);
        restart_later(at, e, e->problem, d);
    } else if (at->plan == SS_PLAN_RELOAD) {
        set_plan(at, SS_PLAN_NONE);
        if (!at->has_run)
            show(at, d, SS_SUPERVISED_FAILED, NULL);
    }
}

/* ---- The current generation ---------------------------------------------------------- */

static void drain(ss_standing *at, ss_decision *d) {
    at->current = SS_PHASE_DRAINING;
    at->hurried = false;
    act(d, SS_DO_DRAIN, NULL, 0);
}

/* One that is ending already does not begin anew. */
static void hand_over(ss_standing *at, ss_decision *d) {
    at->handing_over = true;
    if (at->current == SS_PHASE_RUNNING)
        drain(at, d);
}

static void unload(ss_standing *at, ss_decision *d) {
    at->current = SS_PHASE_UNLOADING;
    act(d, SS_DO_UNLOAD, NULL, 0);
}

static void exit_now(ss_standing *at, ss_decision *d) {
    at->current = SS_PHASE_EXITING;
    act(d, SS_DO_EXIT, NULL, 0);
}

static void consumer_ended(ss_standing *at, const ss_event *e, ss_decision *d) {
    if (at->current != SS_PHASE_RUNNING && at->current != SS_PHASE_DRAINING)
        return;
    switch (e->number) {
    case SS_CONSUMED_BOUNDARY:
        if (at->current == SS_PHASE_DRAINING)
            unload(at, d);
        else
            act(d, SS_DO_KILL_CURRENT, "it says that it has stopped, which nobody asked for", 0);
        break;
    case SS_CONSUMED_FATAL:
        show(at, d, SS_SUPERVISED_FAILED, "on_broadcast returned FATAL (-16)");
        unload(at, d);
        break;
    case SS_CONSUMED_PANIC:
        show(at, d, SS_SUPERVISED_FAILED, "on_broadcast returned PANIC (-17)");
        exit_now(at, d);
        break;
    default:
        act(d, SS_DO_KILL_CURRENT, "it found its ring unreadable", 0);
    }
}

static void current_ended(ss_standing *at, const ss_event *e, ss_decision *d) {
    const bool expected = at->current == SS_PHASE_EXITING && e->clean;
    if (!expected) {
        const uint64_t poison = ss_blame_crash(&at->blame, &e->in_flight, e->now_ns);
        act(d, SS_DO_REPORT, NULL, 0);
        if (poison != 0)
            act(d, SS_DO_SKIP, NULL, poison);
    }
    at->current = SS_PHASE_NONE;
    act(d, SS_DO_DROP_CURRENT, NULL, 0);
    if (at->plan == SS_PLAN_STOP) {
        if (at->next != SS_PHASE_NONE)
            drop_next(at, d);
        set_plan(at, SS_PLAN_NONE);
        show(at, d, SS_SUPERVISED_UNLOADED, expected ? "" : e->why);
    } else if (at->handing_over && at->next == SS_PHASE_LOADED) {
        run_next(at, d);
    } else if (at->handing_over) {
        load_next(at, d);
    } else if (at->state != SS_SUPERVISED_FAILED) { /* during a reload only if that comes to nothing */
        restart_later(at, e, e->why, d);
    }
}

/* ---- What is late, and what is due --------------------------------------------------- */

const char *ss_late_text(enum ss_phase phase) {
    switch (phase) {
    case SS_PHASE_OPENING:
        return "opening and constructing did not return within load_timeout";
    case SS_PHASE_LOADING:
        return "on_load did not return within load_timeout";
    case SS_PHASE_DRAINING:
        return "it did not stop within unload_timeout";
    case SS_PHASE_UNLOADING:
        return "on_unload took longer than unload_timeout";
    case SS_PHASE_EXITING:
        return "it did not end within unload_timeout";
    default:
        return "it is late";
    }
}

static void current_late(ss_standing *at, ss_decision *d) {
    if (at->current == SS_PHASE_DRAINING && !at->hurried) {
        at->hurried = true;
        act(d, SS_DO_HURRY, NULL, 0);
    } else {
        act(d, SS_DO_KILL_CURRENT, ss_late_text(at->current), 0);
    }
}

static void next_late(ss_standing *at, ss_decision *d) {
    if (at->plan != SS_PLAN_START)
        act(d, SS_DO_REFUSE, NULL, 0);
    act(d, SS_DO_KILL_NEXT, ss_late_text(at->next), 0);
}

static void die(ss_standing *at, ss_decision *d) {
    if (at->next != SS_PHASE_NONE)
        drop_next(at, d);
    if (at->current != SS_PHASE_NONE)
        act(d, SS_DO_DROP_CURRENT, NULL, 0);
    at->current = SS_PHASE_NONE;
    at->gone = true;
}

static bool stop(ss_standing *at, ss_decision *d) {
    at->restart_at_ns = 0;
    if (at->next != SS_PHASE_NONE) {
        drop_next(at, d);
    } else if (at->current == SS_PHASE_NONE) {
        set_plan(at, SS_PLAN_NONE);
        show(at, d, SS_SUPERVISED_UNLOADED, "");
    } else if (at->current == SS_PHASE_RUNNING) {
        drain(at, d);
    }
    return d->count > 0;
}

/* The first thing that is due. */
static bool tick(ss_standing *at, const ss_event *e, ss_decision *d) {
    if (at->gone)
        return false;
    if (at->dying) {
        die(at, d);
    } else if (at->prepared) {
        at->prepared = false;
        at->next = SS_PHASE_OPENING;
        act(d, SS_DO_SPAWN_PREPARED, NULL, 0);
    } else if (at->cancelled) {
        at->cancelled = false;
        if (at->plan == SS_PLAN_RELOAD &&
            (at->next == SS_PHASE_OPENING || at->next == SS_PHASE_OPENED)) {
            drop_next(at, d);
            set_plan(at, SS_PLAN_NONE);
        }
    } else if (at->switching) {
        at->switching = false;
        if (at->current == SS_PHASE_NONE || at->overlap)
            load_next(at, d);
        else
            hand_over(at, d);
    } else if (at->plan == SS_PLAN_STOP) {
        return stop(at, d);
    } else if (at->plan == SS_PLAN_NONE && at->state == SS_SUPERVISED_BACKOFF &&
               at->restart_at_ns != 0 && e->now_ns >= at->restart_at_ns) {
        at->restart_at_ns = 0;
        show(at, d, SS_SUPERVISED_LOADING, "restarting after a crash");
        spawn_again(at, d, SLIPSTREAM_LOAD_RESTART);
    } else {
        return false;
    }
    return true;
}

/* ---- What is asked for ---------------------------------------------------------------- */

static bool ask(ss_standing *at, const ss_event *e, ss_decision *d) {
    switch (e->type) {
    case SS_ASKED_PREPARE:
        if (at->plan != SS_PLAN_NONE)
            return false;
        set_plan(at, SS_PLAN_RELOAD);
        at->prepared = true;
        act(d, SS_DO_EXPECT, NULL, 0);
        return true;
    case SS_ASKED_SWITCH:
        if (!ss_is_opened(at))
            return false;
        at->switching = true;
        at->overlap = e->overlap;
        at->load_reason = e->number;
        return true;
    case SS_ASKED_CANCEL:
        at->cancelled = true;
        return true;
    case SS_ASKED_STOP:
        set_plan(at, SS_PLAN_STOP);
        at->prepared = false;
        if (at->state != SS_SUPERVISED_FAILED)
            show(at, d, SS_SUPERVISED_UNLOADING, "");
        return true;
    case SS_ASKED_RESUME:
        if (at->state == SS_SUPERVISED_BACKOFF || at->state == SS_SUPERVISED_QUARANTINED) {
            ss_blame_forget(&at->blame);
            at->restart_at_ns = e->now_ns;
            show(at, d, SS_SUPERVISED_BACKOFF, "resumed");
        }
        return true;
    default:
        at->dying = true;
        return true;
    }
}

/* ---- What a generation says, or what became of it -------------------------------------- */

static void from_next(ss_standing *at, const ss_event *e, ss_decision *d) {
    switch (e->type) {
    case SS_SAID_OPENED:
        if (at->next != SS_PHASE_OPENING || at->plan == SS_PLAN_STOP)
            return;
        at->next = SS_PHASE_OPENED;
        act(d, SS_DO_KEEP, NULL, 0);
        if (at->plan == SS_PLAN_START)
            load_next(at, d);
        return;
    case SS_SAID_LOADED:
        if (at->next != SS_PHASE_LOADING || at->plan == SS_PLAN_STOP)
            return;
        at->next = SS_PHASE_LOADED;
        act(d, SS_DO_KEEP, NULL, 0);
        if (at->current == SS_PHASE_NONE)
            run_next(at, d);
        else
            hand_over(at, d);
        return;
    case SS_NOT_SPAWNED:
    case SS_SAID_REFUSED:
    case SS_HAS_ENDED:
        next_failed(at, e, d);
        return;
    case SS_IS_LATE:
        next_late(at, d);
        return;
    case SS_SAID_NONSENSE:
        act(d, SS_DO_KILL_NEXT, "it sent a message that makes no sense", 0);
        return;
    default:
        return;
    }
}

static void from_current(ss_standing *at, const ss_event *e, ss_decision *d) {
    switch (e->type) {
    case SS_SAID_ENDED:
        consumer_ended(at, e, d);
        return;
    case SS_SAID_UNLOADED:
        if (at->current == SS_PHASE_UNLOADING)
            exit_now(at, d);
        return;
    case SS_HAS_ENDED:
        current_ended(at, e, d);
        return;
    case SS_IS_LATE:
        current_late(at, d);
        return;
    case SS_SAID_NONSENSE:
        act(d, SS_DO_KILL_CURRENT, "it sent a message that makes no sense", 0);
        return;
    default:
        return;
    }
}

ss_decision ss_decide(ss_standing *at, const ss_event *e) {
    ss_decision d = {0};
    if (e->type < SS_TICK)
        d.accepted = ask(at, e, &d);
    else if (e->type == SS_TICK)
        d.acted = tick(at, e, &d);
    else if (e->of_next && at->next != SS_PHASE_NONE)
        from_next(at, e, &d);
    else if (!e->of_next && at->current != SS_PHASE_NONE)
        from_current(at, e, &d);
    return d;
}
