#include "supervisor.h"

#include "consume.h"
#include "process.h"
#include "text.h"
#include "ticks.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

enum {
    REPORTS_MAX = 16,
    CRASHES_MAX = 128,  /* remembered for the window */
    METRICS_MAX = 128,
    POISON_CRASHES = 3, /* so many on one event, and it is a dead letter */
    TICK_MS = 50,
    FLUSH_GRACE_MS = 1000, /* flush is told callback_timeout, and may just keep to it */
    LATE_TICK_MS = 500, /* we were not running ourselves: suspended, stopped, starved */
    INSANE_MS = 300, /* a thread may be interrupted between two words for a while */
    FREE_WAIT_S = 20,
};

#define MS UINT64_C(1000000)

/* What a worker is to do next, beside running. */
enum plan {
    PLAN_NONE,
    PLAN_START,  /* the next process is loaded and run */
    PLAN_RELOAD, /* the next process takes over from the current one */
    PLAN_STOP,
};

typedef struct metric {
    char name[SLIPSTREAM_NAME_MAX + 1];
    char label[2 * SLIPSTREAM_NAME_MAX + 2];
    uint32_t is_gauge;
    uint64_t bits;
} metric;

struct ss_worker {
    ss_supervisor *supervisor;
    ss_worker *next_worker;
    ss_port *port;
    int dead_letter;
    ss_recipe *recipe;   /* of the version that serves, or served last */
    ss_recipe *prepared; /* asked for: to be opened */
    ss_process *current;
    ss_process *next;
    enum plan plan;
    bool overlap;
    bool switching;   /* the switch was asked for */
    bool handing_over; /* the one that served was told to end, for the next one */
    bool dying;
    bool gone;
    bool cancelled;
    uint32_t load_reason;
    uint32_t stop_timeout_ms;
    uint64_t restart_at_ns;
    uint64_t drained_to; /* acknowledged at the last look while draining */
    /* Crashes. */
    uint64_t crash_ns[CRASHES_MAX];
    uint32_t crashes;
    uint32_t failed_starts;
    uint64_t poison;
    uint32_t poison_crashes;
    ss_report *reports[REPORTS_MAX];
    uint32_t report_count;
    metric metrics[METRICS_MAX];
    uint32_t metric_count;
    ss_worker_info info;
    char name[SLIPSTREAM_NAME_MAX + 1];
    char version[SLIPSTREAM_NAME_MAX + 1];
    char reason[512];
    char text[SS_MESSAGE_MAX];
    char hint[1024];
    char *claims;
    size_t claims_len;
    /* Copies that describe gives out. */
    char shown[5][SS_MESSAGE_MAX];
};

struct ss_supervisor {
    ss_logq *log;
    char *program;
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    int kick;
    bool stopping;
    uint64_t last_tick_ns;
    ss_worker *workers;
};

static uint64_t now_ns(void) {
    return ss_clock_ns(CLOCK_MONOTONIC);
}

/* ---- States ------------------------------------------------------------------------ */

static void note_change(ss_worker *w) {
    w->info.changes++;
    pthread_cond_broadcast(&w->supervisor->changed);
}

static void set_state(ss_worker *w, uint32_t state, const char *reason) {
    w->info.state = state;
    w->info.since_ns = (int64_t)ss_clock_ns(CLOCK_REALTIME);
    snprintf(w->reason, sizeof w->reason, "%s", reason);
    /* Who cannot deliver must not hold up the broadcaster either. */
    const bool waits = state == SS_WORKER_QUARANTINED || state == SS_WORKER_FAILED;
    if (w->port != NULL)
        ss_port_hold_nobody(w->port, waits);
    note_change(w);
}

static void set_plan(ss_worker *w, enum plan plan) {
    w->plan = plan;
    w->info.busy = plan != PLAN_NONE;
    w->switching = false;
    w->handing_over = false;
    note_change(w);
}

static void keep_text(ss_worker *w, const char *text, const char *hint) {
    snprintf(w->text, sizeof w->text, "%s", text);
    snprintf(w->hint, sizeof w->hint, "%s", hint);
}

static uint32_t source_of(const ss_worker *w) {
    return w->recipe == NULL ? 0 : w->recipe->spec.source;
}

static void log_line(ss_worker *w, uint32_t level, const char *text) {
    ss_logq_put(w->supervisor->log, level, source_of(w), text, strlen(text));
}

/* ---- Dead letters ------------------------------------------------------------------ */

static void write_dead_letter(ss_worker *w, const uint8_t *frame, size_t len) {
    size_t done = 0;
    if (w->dead_letter < 0 || frame == NULL)
        return;
    while (done < len) {
        const ssize_t n = write(w->dead_letter, frame + done, len - done);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0) {
            log_line(w, SLIPSTREAM_LOG_ERROR,
                     "cannot write to the dead-letter file; the event is lost");
            return;
        }
        done += (size_t)n;
    }
}

static void on_event_failed(ss_worker *w, ss_process *p, uint64_t ordinal, const char *data,
                            size_t len) {
    int32_t status = SLIPSTREAM_FAILED;
    size_t frame_len = 0;
    char line[SLIPSTREAM_ERROR_MAX * 2 + 256];
    if (len >= sizeof status) {
        memcpy(&status, data, sizeof status);
        data += sizeof status;
        len -= sizeof status;
    }
    ss_lock_take(&w->port->lock);
    const uint8_t *frame = ss_ring_find(w->port->ring, ordinal, &frame_len);
    write_dead_letter(w, frame, frame_len);
    ss_lock_release(&w->port->lock);
    snprintf(line, sizeof line, "on_broadcast returned %s (%d) for ordinal %llu%s%.*s",
             ss_status_name(status), (int)status, (unsigned long long)ordinal, len > 0 ? ": " : "",
             (int)len, data);
    log_line(w, SLIPSTREAM_LOG_ERROR, line);
    ss_process_say(p, SS_SAY_NOTED, ordinal, NULL, 0);
}

static void schedule_restart(ss_worker *w, const char *why);
static void next_failed(ss_worker *w);

/* ---- Starting and stopping --------------------------------------------------------- */

static void spawn_next(ss_worker *w, ss_recipe *recipe) {
    char why[512];
    w->info.refusal = SS_REFUSED_NOTHING;
    w->info.status = SLIPSTREAM_OK;
    keep_text(w, "", "");
    w->next = ss_process_start(w->supervisor->program, recipe, w->port->ring, w->port->overflow,
                               why, sizeof why);
    if (w->next == NULL) {
        w->info.refusal = SS_REFUSED_CANNOT_OPEN;
        keep_text(w, why, "check the limits on processes, descriptors and memory: ulimit -a");
        next_failed(w);
    }
    note_change(w);
}

static void start_from(ss_worker *w, ss_recipe *recipe, uint32_t reason) {
    w->load_reason = reason;
    set_plan(w, PLAN_START);
    spawn_next(w, recipe);
}

static void run_next(ss_worker *w) {
    ss_process *p = w->next;
    ss_lock_take(&w->port->lock);
    ss_port_attach_control(w->port, p->control);
    ss_ring_head *head = ss_ring_get_head(w->port->ring);
    head->flush_each = w->poison_crashes >= POISON_CRASHES - 1;
    atomic_store(&head->stop_wanted, 0);
    atomic_store(&head->is_stopping, 0);
    ss_ring_prepare_resume(w->port->ring);
    ss_lock_release(&w->port->lock);
    w->current = p;
    w->next = NULL;
    p->phase = SS_PHASE_RUNNING;
    p->deadline_ns = 0;
    p->seen_since_ns = p->sane_ns = now_ns();
    w->restart_at_ns = 0;
    if (w->recipe != p->recipe) {
        ss_recipe_release(w->recipe);
        w->recipe = p->recipe;
        w->recipe->references++;
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
    ss_process_say(p, SS_SAY_RUN, 0, NULL, 0);
    set_plan(w, PLAN_NONE);
    set_state(w, SS_WORKER_RUNNING, "");
}

/* Lets the current process drain to the last event that was broadcast, and end. What is held
 * back by a pause is delivered before an unload, and left to the next one at a reload. */
static void drain_current(ss_worker *w, uint32_t timeout_ms) {
    ss_process *p = w->current;
    w->handing_over = w->plan == PLAN_RELOAD;
    ss_lock_take(&w->port->lock);
    ss_ring_head *head = ss_ring_get_head(w->port->ring);
    ss_ring_tell_lost(w->port->ring);
    atomic_store(&head->boundary, ss_ring_last(w->port->ring));
    if (!w->handing_over)
        atomic_store(&head->paused, 0);
    atomic_store(&head->stop_wanted, 1);
    atomic_fetch_add(&head->wake, 1);
    ss_ring_wake(w->port->ring);
    ss_lock_release(&w->port->lock);
    p->phase = SS_PHASE_DRAINING;
    w->stop_timeout_ms = timeout_ms;
    p->deadline_ns = now_ns() + timeout_ms * MS;
}

static void say_unload(ss_worker *w, ss_process *p) {
    p->phase = SS_PHASE_UNLOADING;
    p->deadline_ns = now_ns() + w->stop_timeout_ms * MS;
    ss_process_say(p, SS_SAY_UNLOAD, w->stop_timeout_ms, NULL, 0);
}

static void say_exit(ss_worker *w, ss_process *p) {
    p->phase = SS_PHASE_EXITING;
    p->deadline_ns = now_ns() + (w->stop_timeout_ms != 0 ? w->stop_timeout_ms : 1000) * MS;
    ss_process_say(p, SS_SAY_EXIT, 0, NULL, 0);
}

/* The current process is gone, or there is none: what now? `problem` is how it ended, "" if
 * well. */
static void go_on(ss_worker *w, const char *problem) {
    if (w->plan == PLAN_STOP) {
        set_plan(w, PLAN_NONE);
        set_state(w, SS_WORKER_UNLOADED, problem);
    } else if (w->plan == PLAN_RELOAD && w->next != NULL) {
        if (w->next->phase == SS_PHASE_LOADED)
            run_next(w);
        else if (w->next->phase == SS_PHASE_OPENED)
            ss_process_say_load(w->next, w->load_reason);
    }
}

static void drop_next(ss_worker *w) {
    ss_process_free(w->next, w->port->ring);
    w->next = NULL;
    w->info.next_opened = 0;
}

/* The next process will not serve; its text says why. */
static void next_failed(ss_worker *w) {
    const bool before = w->info.generation > 0;
    drop_next(w);
    if (w->handing_over && w->current == NULL) {
        log_line(w, SLIPSTREAM_LOG_ERROR,
                 "the new version did not start; the old one is started again");
        char text[sizeof w->text];
        char hint[sizeof w->hint];
        const uint32_t refusal = w->info.refusal;
        const int32_t status = w->info.status;
        memcpy(text, w->text, sizeof text);
        memcpy(hint, w->hint, sizeof hint);
        start_from(w, w->recipe, SLIPSTREAM_LOAD_RELOAD);
        keep_text(w, text, hint);
        w->info.refusal = refusal;
        w->info.status = status;
    } else if (w->plan == PLAN_START && before) {
        set_plan(w, PLAN_NONE);
        w->failed_starts++;
        schedule_restart(w, "it could not be started again");
    } else {
        if (!before)
            set_state(w, SS_WORKER_FAILED, w->text);
        set_plan(w, PLAN_NONE);
    }
}

/* ---- Crashes ----------------------------------------------------------------------- */

static uint32_t crashes_in_window(const ss_worker *w) {
    const uint64_t window = w->recipe->spec.window_ms * MS;
    const uint64_t now = now_ns();
    uint32_t found = 0;
    const uint32_t kept = w->crashes < CRASHES_MAX ? w->crashes : CRASHES_MAX;
    for (uint32_t i = 0; i < kept; i++)
        found += now - w->crash_ns[i] <= window;
    return found;
}

static void schedule_restart(ss_worker *w, const char *why) {
    const ss_spec *s = &w->recipe->spec;
    const uint32_t recent = crashes_in_window(w) + w->failed_starts;
    char reason[sizeof w->reason];
    if (s->max_crashes != 0 && recent >= s->max_crashes) {
        snprintf(reason, sizeof reason, "%u crashes within %.0f s, the last: %s", recent,
                 (double)s->window_ms / 1000, why);
        log_line(w, SLIPSTREAM_LOG_ERROR, "quarantined: too many crashes; it waits for resume");
        w->restart_at_ns = 0;
        set_state(w, SS_WORKER_QUARANTINED, reason);
        return;
    }
    uint64_t delay = s->initial_delay_ms;
    for (uint32_t i = 1; i < recent && delay < s->max_delay_ms; i++)
        delay *= 2;
    if (delay > s->max_delay_ms)
        delay = s->max_delay_ms;
    delay += (uint64_t)(rand() % 100) * delay / 1000; /* jitter: up to a tenth */
    w->restart_at_ns = now_ns() + delay * MS;
    set_state(w, SS_WORKER_BACKOFF, why);
}

static void keep_report(ss_worker *w, const ss_report *report) {
    ss_report *copy = malloc(sizeof *copy);
    if (copy == NULL)
        return;
    *copy = *report;
    if (w->report_count == REPORTS_MAX) {
        free(w->reports[0]);
        memmove(w->reports, w->reports + 1, (REPORTS_MAX - 1) * sizeof w->reports[0]);
        w->report_count--;
    }
    w->reports[w->report_count++] = copy;
}

/* Which event was in flight? Three crashes on one make it a dead letter. True if this crash
 * was a repeated one on the same event. */
static bool blame_event(ss_worker *w, ss_process *p, ss_report *report) {
    ss_ring *ring = w->port->ring;
    const uint64_t key = ss_ring_get_head(ring)->key;
    uint64_t started = 0;
    uint64_t run = 0;
    size_t len = 0;
    bool repeated = false;
    ss_lock_take(&w->port->lock);
    report->acknowledged = ss_ring_acked(ring);
    if (ss_ring_get_control(ring) == p->control &&
        ss_hear(&p->control->started, key, SS_PLACE_STARTED, &started) &&
        ss_hear(&p->control->run, key, SS_PLACE_RUN, &run) && run > 0 &&
        started > report->acknowledged && started <= ss_ring_last(ring)) {
        report->ordinal = started;
        report->run = run;
        const uint8_t *frame = ss_ring_find(ring, started, &len);
        if (frame != NULL)
            memcpy(report->frame_head, frame, sizeof report->frame_head);
        if (run == 1) { /* a run blames nobody; it is replayed one by one */
            repeated = w->poison == started;
            w->poison_crashes = repeated ? w->poison_crashes + 1 : 1;
            w->poison = started;
        }
    }
    if (w->poison_crashes >= POISON_CRASHES) {
        uint8_t *frame = NULL;
        len = ss_ring_skip(ring, w->poison, SLIPSTREAM_GAP_DEAD_LETTER, &frame);
        write_dead_letter(w, frame, len);
        free(frame);
        w->poison_crashes = 0;
        w->poison = 0;
        if (len > 0)
            w->info.dead_letters++;
        log_line(w, SLIPSTREAM_LOG_ERROR,
                 len > 0
                     ? "an event crashed it three times: it is a dead letter, the plugin gets a GAP"
                     : "an event crashed it three times, but too many dead letters wait already");
    }
    ss_lock_release(&w->port->lock);
    return repeated;
}

static void on_crash(ss_worker *w, ss_process *p, ss_report *report) {
    char line[1024];
    const bool repeated = blame_event(w, p, report);
    keep_report(w, report);
    if (!repeated)
        w->crash_ns[w->crashes++ % CRASHES_MAX] = now_ns();
    w->info.restarts++;
    snprintf(line, sizeof line, "crashed: %s%s%s; ordinal %llu in flight, acknowledged %llu",
             report->reason, report->has_fault ? ", in " : "",
             report->has_fault ? report->module : "", (unsigned long long)report->ordinal,
             (unsigned long long)report->acknowledged);
    log_line(w, SLIPSTREAM_LOG_ERROR, line);
}

static void drain_output(ss_worker *w, ss_process *p) {
    ss_process_drain(p, &p->out, w->supervisor->log, SLIPSTREAM_LOG_INFO);
    ss_process_drain(p, &p->err, w->supervisor->log, SLIPSTREAM_LOG_WARN);
}

static void on_end(ss_worker *w, ss_process *p, ss_report *report) {
    drain_output(w, p);
    ss_process_end_lines(p, &p->out, w->supervisor->log, SLIPSTREAM_LOG_INFO);
    ss_process_end_lines(p, &p->err, w->supervisor->log, SLIPSTREAM_LOG_WARN);
    if (p == w->next) {
        if (w->text[0] == '\0') {
            char text[512];
            snprintf(text, sizeof text, "%s: the worker %s while it was %s", p->recipe->spec.shown,
                     report->reason, p->phase == SS_PHASE_OPENING ? "opened" : "loaded");
            keep_text(w, text, "see its crash report, and run it in a debugger");
            w->info.refusal = SS_REFUSED_CANNOT_OPEN;
        }
        keep_report(w, report);
        next_failed(w);
        return;
    }
    const bool expected = p->phase == SS_PHASE_EXITING && report->signal == 0 &&
                          report->exit_code <= 0 && p->kill_reason[0] == '\0';
    const bool failed = w->info.state == SS_WORKER_FAILED;
    if (!expected)
        on_crash(w, p, report);
    w->current = NULL;
    w->info.pid = 0;
    ss_process_free(p, w->port->ring);
    if (w->plan == PLAN_STOP || w->handing_over)
        go_on(w, expected ? "" : report->reason);
    else if (!failed) /* during a reload only if that comes to nothing */
        schedule_restart(w, report->reason);
    note_change(w);
}

/* ---- Messages ---------------------------------------------------------------------- */

static void on_refused(ss_worker *w, const ss_message *head, const char *data, const char *end,
                       bool failed_load) {
    char text[SS_MESSAGE_MAX];
    const size_t room = (size_t)(end - data);
    const size_t text_len = strnlen(data, room);
    const char *hint = text_len < room ? data + text_len + 1 : "";
    ss_text_escape(text, sizeof text, data, text_len);
    if (failed_load)
        w->info.status = (int32_t)head->number;
    else
        w->info.refusal = (uint32_t)head->number;
    keep_text(w, text, "");
    if (!failed_load && hint < end)
        ss_text_escape(w->hint, sizeof w->hint, hint, strnlen(hint, (size_t)(end - hint)));
    next_failed(w);
}

static void on_opened(ss_worker *w, ss_process *p, const char *data, size_t len) {
    ss_opened opened;
    if (p != w->next || p->phase != SS_PHASE_OPENING || len < sizeof opened + 2)
        return;
    memcpy(&opened, data, sizeof opened);
    const char *name = data + sizeof opened;
    const size_t name_len = strnlen(name, len - sizeof opened);
    const char *version = name + name_len + (name_len < len - sizeof opened);
    ss_text_escape(p->name, sizeof p->name, name, name_len);
    ss_text_escape(p->version, sizeof p->version, version,
                   strnlen(version, (size_t)(data + len - version)));
    p->flags = opened.flags;
    p->phase = SS_PHASE_OPENED;
    p->deadline_ns = 0;
    if (w->plan == PLAN_START) {
        ss_process_say_load(p, w->load_reason);
    } else {
        w->info.next_opened = 1;
        snprintf(w->name, sizeof w->name, "%s", p->name);
        snprintf(w->version, sizeof w->version, "%s", p->version);
        if (w->current == NULL)
            w->info.flags = p->flags;
    }
    note_change(w);
}

static void on_loaded(ss_worker *w, ss_process *p, const ss_message *head, const char *data,
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
        run_next(w);
    else
        drain_current(w, w->recipe->spec.unload_timeout_ms);
}

static void on_ended(ss_worker *w, ss_process *p, uint32_t reason) {
    if (p != w->current || (p->phase != SS_PHASE_RUNNING && p->phase != SS_PHASE_DRAINING))
        return;
    if (reason == SS_CONSUMED_BOUNDARY && p->phase == SS_PHASE_RUNNING) {
        ss_process_kill(p, "it says that it has stopped, which nobody asked for");
        return;
    }
    if (w->stop_timeout_ms == 0)
        w->stop_timeout_ms = w->recipe->spec.unload_timeout_ms;
    switch (reason) {
    case SS_CONSUMED_BOUNDARY:
        say_unload(w, p);
        break;
    case SS_CONSUMED_FATAL:
        set_state(w, SS_WORKER_FAILED, "on_broadcast returned FATAL");
        say_unload(w, p);
        break;
    case SS_CONSUMED_PANIC:
        set_state(w, SS_WORKER_FAILED, "on_broadcast returned PANIC");
        say_exit(w, p);
        break;
    default:
        ss_process_kill(p, "it found its ring unreadable");
    }
}

static void on_metric(ss_worker *w, const ss_message *head, const char *data, size_t len) {
    metric new = {.bits = head->number};
    if (len < sizeof new.is_gauge + 2)
        return;
    memcpy(&new.is_gauge, data, sizeof new.is_gauge);
    const char *name = data + sizeof new.is_gauge;
    const size_t room = len - sizeof new.is_gauge;
    const size_t name_len = strnlen(name, room);
    ss_text_escape(new.name, sizeof new.name, name, name_len);
    if (name_len < room)
        ss_text_escape(new.label, sizeof new.label, name + name_len + 1,
                       strnlen(name + name_len + 1, room - name_len - 1));
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

/* False when the process was freed. */
static bool on_message(ss_worker *w, ss_process *p, const ss_message *head, const char *data) {
    const size_t len = head->len;
    switch (head->type) {
    case SS_TELL_LOG:
        ss_process_keep_line(p, data, len);
        ss_logq_put(w->supervisor->log,
                    head->number < SLIPSTREAM_LOG_PLUGIN_MISBEHAVING
                        ? (uint32_t)head->number
                        : SLIPSTREAM_LOG_PLUGIN_MISBEHAVING,
                    p->recipe->spec.source, data, len);
        return true;
    case SS_TELL_OPENED:
        on_opened(w, p, data, len);
        return true;
    case SS_TELL_REFUSED:
    case SS_TELL_FAILED_LOAD:
        if (p != w->next)
            return true;
        on_refused(w, head, data, data + len, head->type == SS_TELL_FAILED_LOAD);
        return false;
    case SS_TELL_LOADED:
        on_loaded(w, p, head, data, len);
        return true;
    case SS_TELL_ENDED:
        on_ended(w, p, (uint32_t)head->number);
        return true;
    case SS_TELL_UNLOADED:
        if ((int32_t)head->number != SLIPSTREAM_OK)
            ss_logq_put(w->supervisor->log, SLIPSTREAM_LOG_ERROR, p->recipe->spec.source, data,
                        strnlen(data, len));
        if (p == w->current && p->phase == SS_PHASE_UNLOADING)
            say_exit(w, p);
        return true;
    case SS_TELL_EVENT_FAILED:
        if (p == w->current)
            on_event_failed(w, p, head->number, data, len);
        return true;
    case SS_TELL_METRIC:
        on_metric(w, head, data, len);
        return true;
    default:
        ss_process_kill(p, "it sent a message of an unknown type");
        return true;
    }
}

/* ---- Looking after processes ------------------------------------------------------- */

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

/* Is a callback under way for too long? Does what it writes make sense? */
static void watch(ss_worker *w, ss_process *p, uint64_t now, bool punctual) {
    const ss_spec *s = &p->recipe->spec;
    const uint64_t key = ss_ring_get_head(w->port->ring)->key;
    uint64_t started = 0;
    uint64_t run = 0;
    ss_lock_take(&w->port->lock);
    const uint64_t acked = ss_ring_acked(w->port->ring);
    const bool sane = ss_ring_is_sane(w->port->ring) &&
                      ss_hear(&p->control->started, key, SS_PLACE_STARTED, &started) &&
                      ss_hear(&p->control->run, key, SS_PLACE_RUN, &run) &&
                      started <= ss_ring_last(w->port->ring);
    ss_ring_tell_lost(w->port->ring);
    ss_ring_wake(w->port->ring);
    ss_lock_release(&w->port->lock);
    if (p->phase == SS_PHASE_DRAINING && acked != w->drained_to) {
        w->drained_to = acked; /* it makes headway: the deadline is for standing still */
        p->deadline_ns = now + w->stop_timeout_ms * MS;
    }
    if (sane || !punctual || is_stopped(p->pid))
        p->sane_ns = now;
    if (now - p->sane_ns >= INSANE_MS * MS)
        ss_process_kill(p, "its control area was written over");
    const uint64_t calls = atomic_load_explicit(&p->control->calls, memory_order_relaxed);
    const bool flushing =
        atomic_load_explicit(&p->control->flushing, memory_order_relaxed) != 0;
    const uint64_t limit_ms = s->callback_timeout_ms + (flushing ? FLUSH_GRACE_MS : 0);
    if (!punctual || (run == 0 && !flushing) || started != p->seen_started ||
        calls != p->seen_calls || flushing != p->seen_flushing) {
        p->seen_started = started;
        p->seen_calls = calls;
        p->seen_flushing = flushing;
        p->seen_since_ns = now;
    } else if (s->callback_timeout_ms != 0 && now - p->seen_since_ns >= limit_ms * MS) {
        char why[160];
        snprintf(why, sizeof why, "%s took longer than %.3g s (ordinal %llu)",
                 flushing ? "flush" : "a callback", (double)limit_ms / 1000,
                 (unsigned long long)started);
        ss_process_kill(p, why);
    }
}

static void miss_deadline(ss_worker *w, ss_process *p) {
    static const char *const late[] = {
        [SS_PHASE_OPENING] = "opening and constructing did not return within load_timeout",
        [SS_PHASE_LOADING] = "on_load did not return within load_timeout",
        [SS_PHASE_DRAINING] = "draining came to a halt for longer than unload_timeout",
        [SS_PHASE_UNLOADING] = "on_unload took longer than unload_timeout",
        [SS_PHASE_EXITING] = "it did not end within unload_timeout",
    };
    const char *why = late[p->phase] == NULL ? "it is late" : late[p->phase];
    p->deadline_ns = 0;
    if (p == w->next) {
        char text[512];
        snprintf(text, sizeof text, "%s: %s", p->recipe->spec.shown, why);
        keep_text(w, text, "raise `load_timeout` if it needs longer; else attach a debugger to the worker");
        w->info.refusal = SS_REFUSED_TIMED_OUT;
    }
    ss_process_kill(p, why);
}

static void serve_process(ss_worker *w, ss_process *p, uint64_t now, bool punctual) {
    static char data[SS_MESSAGE_MAX];
    ss_message head;
    ss_report report;
    drain_output(w, p);
    for (int i = 0; i < 256 && ss_process_receive(p, &head, data); i++)
        if (!on_message(w, p, &head, data))
            return;
    if (ss_process_reap(p, &report)) {
        while (ss_process_receive(p, &head, data)) /* its last words */
            if (!on_message(w, p, &head, data))
                return;
        on_end(w, p, &report);
        return;
    }
    if (p->deadline_ns != 0 && now >= p->deadline_ns)
        miss_deadline(w, p);
    if (p == w->current && (p->phase == SS_PHASE_RUNNING || p->phase == SS_PHASE_DRAINING))
        watch(w, p, now, punctual);
}

/* What was asked for from outside, and what is due. */
static void serve_requests(ss_worker *w, uint64_t now) {
    if (w->dying) {
        drop_next(w);
        ss_process_free(w->current, w->port->ring);
        w->current = NULL;
        w->gone = true;
        note_change(w);
        return;
    }
    if (w->prepared != NULL) {
        ss_recipe *recipe = w->prepared;
        w->prepared = NULL;
        if (w->recipe == NULL) {
            w->recipe = recipe;
            recipe->references++;
        }
        spawn_next(w, recipe);
        ss_recipe_release(recipe);
    }
    if (w->cancelled) {
        w->cancelled = false;
        if (w->next != NULL && w->next->phase <= SS_PHASE_OPENED && w->plan == PLAN_RELOAD) {
            drop_next(w);
            set_plan(w, PLAN_NONE);
        }
    }
    if (w->switching && w->next != NULL && w->next->phase == SS_PHASE_OPENED) {
        w->switching = false;
        w->info.next_opened = 0;
        if (w->current == NULL || w->overlap)
            ss_process_say_load(w->next, w->load_reason);
        else
            drain_current(w, w->recipe->spec.unload_timeout_ms);
    }
    if (w->plan == PLAN_STOP) {
        w->restart_at_ns = 0;
        if (w->next != NULL)
            drop_next(w);
        if (w->current == NULL)
            go_on(w, "");
        else if (w->current->phase == SS_PHASE_RUNNING)
            drain_current(w, w->stop_timeout_ms);
    }
    const bool due = w->restart_at_ns != 0 && now >= w->restart_at_ns;
    if (due && w->plan == PLAN_NONE && w->info.state == SS_WORKER_BACKOFF) {
        w->restart_at_ns = 0;
        set_state(w, SS_WORKER_LOADING, "restarting after a crash");
        start_from(w, w->recipe, SLIPSTREAM_LOAD_RESTART);
    }
}

static void serve(ss_worker *w, uint64_t now, bool punctual) {
    serve_requests(w, now);
    if (w->next != NULL)
        serve_process(w, w->next, now, punctual);
    if (w->current != NULL)
        serve_process(w, w->current, now, punctual);
}

/* ---- The thread -------------------------------------------------------------------- */

static size_t add_fds(const ss_process *p, struct pollfd *fds, size_t used) {
    const int wanted[] = {p->pidfd, p->channel, p->out.fd, p->err.fd};
    for (size_t i = 0; i < sizeof wanted / sizeof wanted[0]; i++)
        if (wanted[i] >= 0)
            fds[used++] = (struct pollfd){wanted[i], POLLIN, 0};
    return used;
}

/* How long to sleep: until the next thing is due, at most a tick while anything runs. */
static int sleep_ms(const ss_supervisor *self, uint64_t now) {
    int ms = 1000;
    for (const ss_worker *w = self->workers; w != NULL; w = w->next_worker) {
        if (w->current != NULL || w->next != NULL)
            ms = ms < TICK_MS ? ms : TICK_MS;
        if (w->restart_at_ns != 0 && w->plan == PLAN_NONE) {
            const int left = w->restart_at_ns <= now ? 0 : (int)((w->restart_at_ns - now) / MS) + 1;
            ms = ms < left ? ms : left;
        }
    }
    return ms;
}

static void *run(void *argument) {
    ss_supervisor *self = argument;
    struct pollfd *fds = NULL;
    size_t room = 0;
    pthread_setname_np(pthread_self(), "slip-supervisor");
    pthread_mutex_lock(&self->lock);
    while (!self->stopping) {
        size_t used = 0;
        size_t wanted = 1;
        for (const ss_worker *w = self->workers; w != NULL; w = w->next_worker)
            wanted += 8;
        if (wanted > room) {
            struct pollfd *more = realloc(fds, wanted * sizeof *fds);
            room = more == NULL ? room : wanted;
            fds = more == NULL ? fds : more;
        }
        if (room > 0)
            fds[used++] = (struct pollfd){self->kick, POLLIN, 0};
        for (const ss_worker *w = self->workers; w != NULL && used + 8 <= room; w = w->next_worker) {
            if (w->current != NULL)
                used = add_fds(w->current, fds, used);
            if (w->next != NULL)
                used = add_fds(w->next, fds, used);
        }
        const int ms = sleep_ms(self, now_ns());
        pthread_mutex_unlock(&self->lock);
        poll(fds, (nfds_t)used, ms);
        uint64_t count;
        if (read(self->kick, &count, sizeof count) < 0 && errno != EAGAIN)
            count = 0;
        pthread_mutex_lock(&self->lock);
        const uint64_t now = now_ns();
        const bool punctual = now - self->last_tick_ns < (TICK_MS + LATE_TICK_MS) * MS;
        self->last_tick_ns = now;
        for (ss_worker *w = self->workers; w != NULL; w = w->next_worker)
            if (!w->gone)
                serve(w, now, punctual);
    }
    for (ss_worker *w = self->workers; w != NULL; w = w->next_worker) {
        w->dying = true;
        serve_requests(w, 0);
    }
    pthread_mutex_unlock(&self->lock);
    free(fds);
    return NULL;
}

/* ---- Calls from outside ------------------------------------------------------------ */

static void kick(ss_supervisor *self) {
    const uint64_t one = 1;
    if (write(self->kick, &one, sizeof one) != sizeof one)
        return; /* it is full: then the thread is awake anyway */
}

ss_supervisor *ss_supervisor_new(ss_logq *log, const char *program) {
    ss_supervisor *self = calloc(1, sizeof *self);
    pthread_condattr_t clock;
    sigset_t all;
    sigset_t before;
    if (self == NULL)
        return NULL;
    self->log = log;
    self->program = strdup(program);
    self->kick = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    self->last_tick_ns = now_ns();
    ss_ticks_start();
    pthread_mutex_init(&self->lock, NULL);
    pthread_condattr_init(&clock);
    pthread_condattr_setclock(&clock, CLOCK_MONOTONIC);
    pthread_cond_init(&self->changed, &clock);
    pthread_condattr_destroy(&clock);
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    const bool started = self->program != NULL && self->kick >= 0 &&
                         pthread_create(&self->thread, NULL, run, self) == 0;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (!started) {
        if (self->kick >= 0)
            close(self->kick);
        free(self->program);
        free(self);
        return NULL;
    }
    ss_logq_retain(log);
    return self;
}

void ss_supervisor_free(ss_supervisor *self) {
    if (self == NULL)
        return;
    pthread_mutex_lock(&self->lock);
    self->stopping = true;
    pthread_mutex_unlock(&self->lock);
    kick(self);
    pthread_join(self->thread, NULL);
    while (self->workers != NULL)
        ss_worker_free(self->workers);
    close(self->kick);
    pthread_cond_destroy(&self->changed);
    pthread_mutex_destroy(&self->lock);
    ss_logq_release(self->log);
    free(self->program);
    free(self);
}

ss_worker *ss_worker_new(ss_supervisor *self, ss_port *port, int dead_letter) {
    ss_worker *w = calloc(1, sizeof *w);
    if (w == NULL)
        return NULL;
    w->supervisor = self;
    w->port = port;
    w->dead_letter = dead_letter;
    w->info.since_ns = (int64_t)ss_clock_ns(CLOCK_REALTIME);
    pthread_mutex_lock(&self->lock);
    w->next_worker = self->workers;
    self->workers = w;
    pthread_mutex_unlock(&self->lock);
    return w;
}

int32_t ss_worker_prepare(ss_worker *w, const ss_spec *spec) {
    ss_recipe *recipe = ss_recipe_new(spec);
    int32_t status = SLIPSTREAM_OK;
    if (recipe == NULL)
        return SLIPSTREAM_NO_MEMORY;
    pthread_mutex_lock(&w->supervisor->lock);
    if (w->plan != PLAN_NONE || w->prepared != NULL || w->next != NULL) {
        status = SLIPSTREAM_WRONG_STATE;
    } else {
        w->prepared = recipe;
        w->info.next_opened = 0;
        set_plan(w, PLAN_RELOAD);
        recipe = NULL;
    }
    pthread_mutex_unlock(&w->supervisor->lock);
    ss_recipe_release(recipe);
    kick(w->supervisor);
    return status;
}

int32_t ss_worker_switch(ss_worker *w, uint32_t reason, uint32_t overlap, const char *config,
                         size_t len) {
    int32_t status = SLIPSTREAM_WRONG_STATE;
    pthread_mutex_lock(&w->supervisor->lock);
    if (w->info.next_opened && w->next != NULL) {
        status = ss_recipe_set_config(w->next->recipe, config, len) ? SLIPSTREAM_OK
                                                                    : SLIPSTREAM_NO_MEMORY;
        w->load_reason = reason;
        w->overlap = overlap != 0;
        w->switching = status == SLIPSTREAM_OK;
        w->info.next_opened = 0;
    }
    pthread_mutex_unlock(&w->supervisor->lock);
    kick(w->supervisor);
    return status;
}

int32_t ss_worker_cancel(ss_worker *w) {
    pthread_mutex_lock(&w->supervisor->lock);
    w->cancelled = true;
    pthread_mutex_unlock(&w->supervisor->lock);
    kick(w->supervisor);
    return SLIPSTREAM_OK;
}

int32_t ss_worker_stop(ss_worker *w, uint32_t timeout_ms) {
    pthread_mutex_lock(&w->supervisor->lock);
    w->stop_timeout_ms = timeout_ms;
    set_plan(w, PLAN_STOP);
    if (w->info.state != SS_WORKER_FAILED)
        set_state(w, SS_WORKER_UNLOADING, "");
    pthread_mutex_unlock(&w->supervisor->lock);
    kick(w->supervisor);
    return SLIPSTREAM_OK;
}

int32_t ss_worker_resume(ss_worker *w) {
    pthread_mutex_lock(&w->supervisor->lock);
    if (w->info.state == SS_WORKER_BACKOFF || w->info.state == SS_WORKER_QUARANTINED) {
        w->crashes = 0;
        w->failed_starts = 0;
        w->restart_at_ns = now_ns();
        set_state(w, SS_WORKER_BACKOFF, "resumed");
    }
    pthread_mutex_unlock(&w->supervisor->lock);
    kick(w->supervisor);
    return SLIPSTREAM_OK;
}

int32_t ss_worker_wait(ss_worker *w, uint64_t changes, uint32_t ms) {
    struct timespec end;
    int error = 0;
    clock_gettime(CLOCK_MONOTONIC, &end);
    end.tv_sec += ms / 1000;
    end.tv_nsec += (long)(ms % 1000) * 1000000;
    if (end.tv_nsec >= 1000000000) {
        end.tv_sec++;
        end.tv_nsec -= 1000000000;
    }
    pthread_mutex_lock(&w->supervisor->lock);
    while (w->info.changes == changes && error == 0)
        error = pthread_cond_timedwait(&w->supervisor->changed, &w->supervisor->lock, &end);
    const bool changed = w->info.changes != changes;
    pthread_mutex_unlock(&w->supervisor->lock);
    return changed ? SLIPSTREAM_OK : SLIPSTREAM_TIMEOUT;
}

void ss_worker_describe(ss_worker *w, ss_worker_info *out) {
    const char *const from[] = {w->name, w->version, w->reason, w->text, w->hint};
    pthread_mutex_lock(&w->supervisor->lock);
    for (int i = 0; i < 5; i++)
        snprintf(w->shown[i], sizeof w->shown[i], "%s", from[i]);
    *out = w->info;
    out->reports = w->report_count;
    pthread_mutex_unlock(&w->supervisor->lock);
    out->name = w->shown[0];
    out->version = w->shown[1];
    out->reason = w->shown[2];
    out->text = w->shown[3];
    out->hint = w->shown[4];
}

const char *ss_worker_claim(ss_worker *w, uint32_t index) {
    const char *found = NULL;
    pthread_mutex_lock(&w->supervisor->lock);
    for (size_t at = 0; at < w->claims_len && found == NULL; at += strlen(w->claims + at) + 1)
        if (index-- == 0)
            found = w->claims + at;
    if (found != NULL)
        snprintf(w->shown[4], sizeof w->shown[4], "%s", found);
    pthread_mutex_unlock(&w->supervisor->lock);
    return found == NULL ? NULL : w->shown[4];
}

int32_t ss_worker_metric(ss_worker *w, uint32_t index, ss_metric *out) {
    int32_t status = SLIPSTREAM_NOT_FOUND;
    memset(out, 0, sizeof *out);
    pthread_mutex_lock(&w->supervisor->lock);
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
    pthread_mutex_unlock(&w->supervisor->lock);
    return status;
}

int32_t ss_worker_take_report(ss_worker *w, ss_report *out) {
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

void ss_worker_free(ss_worker *w) {
    ss_supervisor *self = w->supervisor;
    pthread_mutex_lock(&self->lock);
    w->dying = true;
    kick(self);
    struct timespec end;
    clock_gettime(CLOCK_MONOTONIC, &end);
    end.tv_sec += FREE_WAIT_S;
    while (!w->gone && !self->stopping &&
           pthread_cond_timedwait(&self->changed, &self->lock, &end) == 0) {
    }
    for (ss_worker **at = &self->workers; *at != NULL; at = &(*at)->next_worker)
        if (*at == w) {
            *at = w->next_worker;
            break;
        }
    pthread_mutex_unlock(&self->lock);
    for (uint32_t i = 0; i < w->report_count; i++)
        free(w->reports[i]);
    ss_recipe_release(w->recipe);
    ss_recipe_release(w->prepared);
    free(w->claims);
    free(w);
}
