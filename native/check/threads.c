#include "check/threads.h"

#include "check/notes.h"
#include "platform/platform.h"

#include <pthread.h>
#include <signal.h>
#include <stdbool.h>

typedef struct caller {
    pthread_t thread;
    bool is_there;
    void (*function)(void *);
    void *argument;
} caller;

static struct {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    caller callers[SS_CALLERS];
    uint32_t chosen;
} all = {.lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER};

static void *call(void *argument) {
    caller *self = argument;
    ss_os_use_fault_stack();
    pthread_mutex_lock(&all.lock);
    for (;;) {
        while (self->function == NULL)
            pthread_cond_wait(&all.changed, &all.lock);
        pthread_mutex_unlock(&all.lock);
        self->function(self->argument);
        pthread_mutex_lock(&all.lock);
        self->function = NULL;
        pthread_cond_broadcast(&all.changed);
    }
    return NULL;
}

/* As a host's threads are: its signals come elsewhere, but those of its own faults. */
static bool start(pthread_t *thread, size_t stack, void *(*run)(void *), void *argument) {
    static const int faults[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT, SIGTRAP, SIGSYS};
    pthread_attr_t attributes;
    sigset_t usual;
    sigset_t blocked;
    sigfillset(&blocked);
    for (size_t i = 0; i < sizeof faults / sizeof faults[0]; i++)
        sigdelset(&blocked, faults[i]);
    pthread_attr_init(&attributes);
    if (stack != 0)
        pthread_attr_setstacksize(&attributes, stack);
    pthread_sigmask(SIG_SETMASK, &blocked, &usual);
    const int error = pthread_create(thread, &attributes, run, argument);
    pthread_sigmask(SIG_SETMASK, &usual, NULL);
    pthread_attr_destroy(&attributes);
    return error == 0;
}

void ss_threads_choose(uint32_t at, size_t stack) {
    caller *chosen = &all.callers[at % SS_CALLERS];
    all.chosen = at % SS_CALLERS;
    if (all.chosen == 0 || chosen->is_there)
        return;
    chosen->is_there = true;
    if (!start(&chosen->thread, stack, call, chosen))
        ss_give_up("cannot start a thread");
}

void ss_threads_run(void (*function)(void *), void *argument) {
    caller *chosen = &all.callers[all.chosen];
    if (all.chosen == 0) {
        function(argument);
        return;
    }
    pthread_mutex_lock(&all.lock);
    chosen->argument = argument;
    chosen->function = function;
    pthread_cond_broadcast(&all.changed);
    while (chosen->function != NULL)
        pthread_cond_wait(&all.changed, &all.lock);
    pthread_mutex_unlock(&all.lock);
}

typedef struct racer {
    void (*function)(void *, uint32_t);
    void *argument;
    uint32_t number;
} racer;

static void *race(void *argument) {
    const racer *self = argument;
    ss_os_use_fault_stack();
    self->function(self->argument, self->number);
    return NULL;
}

void ss_threads_race(uint32_t count, void (*function)(void *, uint32_t), void *argument) {
    enum { RACERS = 16 };
    racer racers[RACERS];
    pthread_t threads[RACERS];
    uint32_t started = 0;
    for (; started < count && started < RACERS; started++) {
        racers[started] = (racer){function, argument, started};
        if (!start(&threads[started], 0, race, &racers[started]))
            break;
    }
    for (uint32_t i = 0; i < started; i++)
        pthread_join(threads[i], NULL);
    if (started < count)
        ss_give_up("cannot start so many threads");
}
