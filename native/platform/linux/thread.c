/* thread: threads, and conditions with the right clock. */
#include "platform/platform.h"

#include <signal.h>
#include <stdio.h>

bool ss_os_thread_start(ss_os_thread *thread, void *(*run)(void *), void *argument) {
    static const int faults[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT, SIGTRAP, SIGSYS};
    sigset_t all;
    sigset_t before;
    sigfillset(&all);
    for (size_t i = 0; i < sizeof faults / sizeof faults[0]; i++)
        sigdelset(&all, faults[i]);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    const int error = pthread_create(thread, NULL, run, argument);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return error == 0;
}

void ss_os_thread_set_name(const char *name) {
    char cut[16]; /* a longer one is refused */
    snprintf(cut, sizeof cut, "%s", name);
    pthread_setname_np(pthread_self(), cut);
}

void ss_os_thread_join(ss_os_thread thread) {
    pthread_join(thread, NULL);
}

void ss_os_thread_detach(ss_os_thread thread) {
    pthread_detach(thread);
}

bool ss_os_condition_init(ss_os_condition *condition) {
    pthread_condattr_t attributes;
    if (pthread_condattr_init(&attributes) != 0)
        return false;
    const bool done = pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC) == 0 &&
                      pthread_cond_init(condition, &attributes) == 0;
    pthread_condattr_destroy(&attributes);
    return done;
}
