#include "process/inner.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
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

static void serve_process(ss_worker *w, ss_process *p, uint64_t now, bool punctual) {
    static char data[SS_MESSAGE_MAX];
    ss_message head;
    ss_report report;
    ss_process_drain(p, w->supervisor->log);
    for (int i = 0; i < 256 && ss_process_receive(p, &head, data); i++)
        if (!ss_worker_on_message(w, p, &head, data))
            return;
    if (ss_process_reap(p, &report)) {
        while (ss_process_receive(p, &head, data)) /* its last words */
            if (!ss_worker_on_message(w, p, &head, data))
                return;
        ss_worker_on_end(w, p, &report);
        return;
    }
    if (p->deadline_ns != 0 && now >= p->deadline_ns)
        ss_worker_miss_deadline(w, p);
    if (p == w->current && (p->phase == SS_PHASE_RUNNING || p->phase == SS_PHASE_DRAINING))
        ss_worker_watch(w, p, now, punctual);
}

static void serve(ss_worker *w, uint64_t now, bool punctual) {
    ss_worker_serve_requests(w, now);
    if (w->next != NULL)
        serve_process(w, w->next, now, punctual);
    if (w->current != NULL)
        serve_process(w, w->current, now, punctual);
}

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
        for (const ss_worker *w = self->workers; w != NULL && used + 8 <= room;
             w = w->next_worker) {
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
        ss_worker_serve_requests(w, 0);
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
        ss_worker_expect(w);
        ss_worker_set_plan(w, PLAN_RELOAD);
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
    ss_worker_set_plan(w, PLAN_STOP);
    if (w->info.state != SS_WORKER_FAILED)
        ss_worker_set_state(w, SS_WORKER_UNLOADING, "");
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
        ss_worker_set_state(w, SS_WORKER_BACKOFF, "resumed");
    }
    pthread_mutex_unlock(&w->supervisor->lock);
    kick(w->supervisor);
    return SLIPSTREAM_OK;
}

void ss_worker_free(ss_worker *w) {
    ss_supervisor *self = w->supervisor;
    pthread_mutex_lock(&self->lock);
    w->dying = true;
    kick(self);
    const struct timespec end = ss_deadline(FREE_WAIT_MS);
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
