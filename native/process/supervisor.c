#include "process/supervised.h"

#include "platform/platform.h"

#include <errno.h>
#include <poll.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

enum {
    TICK_MS = 50,
    LATE_TICK_MS = 500, /* we were not running ourselves: suspended, stopped, starved */
    FREE_WAIT_MS = 20 * 1000,
};

/* ---- The thread -------------------------------------------------------------------- */

/* A process has ended, and is freed. */
static void on_end(ss_supervised *w, ss_generation *p, ss_report *report) {
    ss_event event = {.type = SS_HAS_ENDED, .why = report->reason, .report = report};
    char text[4096];
    char said[SS_SAID_ROOM];
    ss_generation_drain(p, w->supervisor->log);
    ss_generation_end_lines(p, w->supervisor->log);
    if (p == w->next) {
        ss_last_lines_join(&p->last, said, sizeof said);
        snprintf(text, sizeof text, "%s: the worker %s while it was %s%s%s", p->spec->values.shown,
                 report->reason, w->at.next == SS_PHASE_OPENING ? "opened" : "loaded",
                 said[0] != '\0' ? "; it said last: " : "", said);
        event.refusal = SS_REFUSED_CANNOT_OPEN;
        ss_supervised_fail_next(w, event, text, "run it in a debugger");
        return;
    }
    event.clean = report->signal == 0 && report->exit_code <= 0 && p->kill_reason[0] == '\0';
    event.in_flight = ss_supervised_find_in_flight(w, p, report);
    ss_supervised_step(w, event);
}

/* `late_ns`: for so long we have not looked, and it may not have run either. */
static void serve_process(ss_supervised *w, ss_generation *p, uint64_t now, uint64_t late_ns) {
    char *data = w->supervisor->message;
    ss_message head;
    ss_report report;
    ss_generation_drain(p, w->supervisor->log);
    for (int i = 0; i < 256 && ss_generation_receive(p, &head, data); i++)
        if (!ss_supervised_on_message(w, p, &head, data))
            return;
    ss_refusals_keep(&w->refusals);
    if (ss_generation_reap(p, &report, w->supervisor->log)) {
        /* Its last words; who has forked may still be talking. */
        for (int i = 0; i < 4096 && ss_generation_receive(p, &head, data); i++)
            if (!ss_supervised_on_message(w, p, &head, data))
                return;
        ss_refusals_keep(&w->refusals);
        on_end(w, p, &report);
        return;
    }
    ss_generation_finish_kill(p, now);
    if (p->deadline_ns != 0)
        p->deadline_ns += late_ns;
    if (p->deadline_ns != 0 && now >= p->deadline_ns)
        ss_supervised_miss_deadline(w, p);
    if (p == w->current &&
        (w->at.current == SS_PHASE_RUNNING || w->at.current == SS_PHASE_DRAINING))
        ss_supervised_watch(w, p, now, late_ns == 0);
}

/* Whatever is due. */
static void tick(ss_supervised *w) {
    while (ss_supervised_step(w, (ss_event){.type = SS_TICK}).acted) {
    }
}

static void serve(ss_supervised *w, uint64_t now, uint64_t late_ns) {
    tick(w);
    ss_lock_take(&w->queue->lock); /* also while nothing runs, and nobody sends */
    ss_losses_look(ss_ring_losses(w->queue->ring));
    ss_lock_release(&w->queue->lock);
    if (w->next != NULL)
        serve_process(w, w->next, now, late_ns);
    if (w->current != NULL)
        serve_process(w, w->current, now, late_ns);
}

static size_t add_fds(const ss_generation *p, struct pollfd *fds, size_t used) {
    const int wanted[] = {p->pidfd, p->channel, p->out.fd, p->err.fd};
    for (size_t i = 0; i < sizeof wanted / sizeof wanted[0]; i++)
        if (wanted[i] >= 0)
            fds[used++] = (struct pollfd){wanted[i], POLLIN, 0};
    return used;
}

/* How long to sleep: until the next thing is due, at most a tick while anything runs. */
static int sleep_ms(const ss_supervisor *self, uint64_t now) {
    int ms = 1000;
    for (const ss_supervised *w = self->supervised; w != NULL; w = w->next_supervised) {
        if (w->current != NULL || w->next != NULL)
            ms = ms < TICK_MS ? ms : TICK_MS;
        if (w->at.restart_at_ns != 0 && w->at.plan == SS_PLAN_NONE) {
            const uint64_t at = w->at.restart_at_ns;
            const int left = at <= now ? 0 : (int)((at - now) / MS) + 1;
            ms = ms < left ? ms : left;
        }
    }
    return ms;
}

static void *run(void *argument) {
    ss_supervisor *self = argument;
    struct pollfd *fds = NULL;
    size_t room = 0;
    ss_os_thread_set_name("slip-supervisor");
    ss_os_mutex_lock(&self->lock);
    while (!self->stopping) {
        /* Whoever reads it wants to know only that it changes. */
        atomic_fetch_add_explicit(&self->beats, 1, memory_order_relaxed);
        size_t used = 0;
        size_t wanted = 1;
        for (const ss_supervised *w = self->supervised; w != NULL; w = w->next_supervised)
            wanted += 8;
        if (wanted > room) {
            struct pollfd *more = realloc(fds, wanted * sizeof *fds);
            room = more == NULL ? room : wanted;
            fds = more == NULL ? fds : more;
        }
        if (room > 0)
            fds[used++] = (struct pollfd){self->kick, POLLIN, 0};
        for (const ss_supervised *w = self->supervised; w != NULL && used + 8 <= room;
             w = w->next_supervised) {
            if (w->current != NULL)
                used = add_fds(w->current, fds, used);
            if (w->next != NULL)
                used = add_fds(w->next, fds, used);
        }
        const int ms = sleep_ms(self, now_ns());
        ss_os_mutex_unlock(&self->lock);
        poll(fds, (nfds_t)used, ms);
        uint64_t count;
        if (read(self->kick, &count, sizeof count) < 0 && errno != EAGAIN)
            count = 0;
        ss_os_mutex_lock(&self->lock);
        const uint64_t now = now_ns();
        /* Longer than any sleep of ours that a generation was there for. */
        const uint64_t passed = now - self->last_tick_ns;
        const uint64_t late_ns = passed < (TICK_MS + LATE_TICK_MS) * MS ? 0 : passed;
        self->last_tick_ns = now;
        for (ss_supervised *w = self->supervised; w != NULL; w = w->next_supervised)
            if (!w->at.gone)
                serve(w, now, late_ns);
    }
    for (ss_supervised *w = self->supervised; w != NULL; w = w->next_supervised) {
        ss_supervised_step(w, (ss_event){.type = SS_ASKED_FREE});
        tick(w);
    }
    ss_os_mutex_unlock(&self->lock);
    free(fds);
    return NULL;
}

/* ---- Calls from outside ------------------------------------------------------------ */

static void kick(ss_supervisor *self) {
    const uint64_t one = 1;
    if (write(self->kick, &one, sizeof one) != sizeof one)
        return; /* it is full: then the thread is awake anyway */
}

ss_supervisor *ss_supervisor_new(ss_log_queue *log, const char *program) {
    ss_supervisor *self = calloc(1, sizeof *self);
    if (self == NULL)
        return NULL;
    self->log = log;
    self->program = strdup(program);
    self->kick = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    self->last_tick_ns = now_ns();
    if (!ss_os_random(&self->random, sizeof self->random))
        self->random = self->last_tick_ns; /* it only keeps plugins from starting in step */
    ss_ticks_start();
    if (self->program == NULL || self->kick < 0 || !ss_os_mutex_init(&self->lock) ||
        !ss_os_condition_init(&self->changed) || !ss_os_thread_start(&self->thread, run, self)) {
        if (self->kick >= 0)
            close(self->kick);
        free(self->program);
        free(self);
        return NULL;
    }
    ss_log_queue_retain(log);
    return self;
}

uint64_t ss_supervisor_beats(const ss_supervisor *self) {
    return atomic_load_explicit(&self->beats, memory_order_relaxed);
}

void ss_supervisor_free(ss_supervisor *self) {
    if (self == NULL)
        return;
    ss_os_mutex_lock(&self->lock);
    self->stopping = true;
    ss_os_mutex_unlock(&self->lock);
    kick(self);
    ss_os_thread_join(self->thread);
    while (self->supervised != NULL)
        ss_supervised_free(self->supervised);
    close(self->kick);
    ss_os_condition_destroy(&self->changed);
    ss_os_mutex_destroy(&self->lock);
    ss_log_queue_release(self->log);
    free(self->program);
    free(self);
}

ss_supervised *ss_supervised_new(ss_supervisor *self, ss_queue *queue, ss_letters *letters) {
    ss_supervised *w = calloc(1, sizeof *w);
    if (w == NULL)
        return NULL;
    w->supervisor = self;
    w->queue = queue;
    w->refusals = (ss_refusals){.queue = queue, .letters = letters};
    w->info.since_ns = (int64_t)ss_os_wall_ns();
    ss_os_mutex_lock(&self->lock);
    w->next_supervised = self->supervised;
    self->supervised = w;
    ss_os_mutex_unlock(&self->lock);
    return w;
}

/* OK, or WRONG_STATE where that cannot be asked for now. */
static int32_t ask(ss_supervised *w, ss_event event) {
    ss_os_mutex_lock(&w->supervisor->lock);
    const bool accepted = ss_supervised_step(w, event).accepted;
    ss_os_mutex_unlock(&w->supervisor->lock);
    kick(w->supervisor);
    return accepted ? SLIPSTREAM_OK : SLIPSTREAM_WRONG_STATE;
}

int32_t ss_supervised_prepare(ss_supervised *w, const ss_spec *given) {
    ss_kept_spec *spec = ss_kept_spec_new(given);
    if (spec == NULL)
        return SLIPSTREAM_NO_MEMORY;
    ss_os_mutex_lock(&w->supervisor->lock);
    const bool accepted = ss_supervised_step(w, (ss_event){.type = SS_ASKED_PREPARE}).accepted;
    if (accepted)
        w->prepared = spec;
    ss_os_mutex_unlock(&w->supervisor->lock);
    kick(w->supervisor);
    if (accepted)
        return SLIPSTREAM_OK;
    ss_kept_spec_release(spec);
    return SLIPSTREAM_WRONG_STATE;
}

int32_t ss_supervised_switch(ss_supervised *w, uint32_t reason, uint32_t overlap,
                             const char *data_dir, const char *config, size_t len) {
    int32_t status = SLIPSTREAM_WRONG_STATE;
    ss_os_mutex_lock(&w->supervisor->lock);
    if (ss_is_opened(&w->at)) {
        status = SLIPSTREAM_NO_MEMORY;
        if (ss_kept_spec_set_load(w->next->spec, data_dir, config, len)) {
            status = SLIPSTREAM_OK;
            ss_supervised_step(w, (ss_event){.type = SS_ASKED_SWITCH,
                                             .number = reason,
                                             .overlap = overlap != 0});
        }
    }
    ss_os_mutex_unlock(&w->supervisor->lock);
    kick(w->supervisor);
    return status;
}

int32_t ss_supervised_cancel(ss_supervised *w) {
    return ask(w, (ss_event){.type = SS_ASKED_CANCEL});
}

int32_t ss_supervised_stop(ss_supervised *w, uint32_t timeout_ms) {
    ss_os_mutex_lock(&w->supervisor->lock);
    w->has_stop_timeout = true;
    w->stop_timeout_ms = timeout_ms;
    ss_supervised_step(w, (ss_event){.type = SS_ASKED_STOP});
    ss_kept_spec_release(w->prepared);
    w->prepared = NULL;
    ss_os_mutex_unlock(&w->supervisor->lock);
    kick(w->supervisor);
    return SLIPSTREAM_OK;
}

int32_t ss_supervised_resume(ss_supervised *w) {
    return ask(w, (ss_event){.type = SS_ASKED_RESUME});
}

void ss_supervised_free(ss_supervised *w) {
    ss_supervisor *self = w->supervisor;
    ss_os_mutex_lock(&self->lock);
    ss_supervised_step(w, (ss_event){.type = SS_ASKED_FREE});
    kick(self);
    const uint64_t end = now_ns() + FREE_WAIT_MS * MS;
    while (!w->at.gone && !self->stopping &&
           ss_os_condition_wait(&self->changed, &self->lock, end)) {
    }
    for (ss_supervised **at = &self->supervised; *at != NULL; at = &(*at)->next_supervised)
        if (*at == w) {
            *at = w->next_supervised;
            break;
        }
    ss_os_mutex_unlock(&self->lock);
    for (uint32_t i = 0; i < w->report_count; i++)
        free(w->reports[i]);
    ss_kept_spec_release(w->spec);
    ss_kept_spec_release(w->prepared);
    free(w->claims);
    free(w);
}
