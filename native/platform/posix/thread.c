/* thread: threads that no signal of others' interrupts. */
#include "platform/platform.h"

#include <signal.h>
#include <stdlib.h>

typedef struct start {
    void *(*run)(void *);
    void *argument;
} start;

static void *begin(void *given) {
    const start it = *(start *)given;
    free(given);
    void *stack = ss_os_use_fault_stack();
    void *result = it.run(it.argument);
    ss_os_leave_fault_stack(stack);
    return result;
}

bool ss_os_thread_start(ss_os_thread *thread, void *(*run)(void *), void *argument) {
    static const int faults[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT, SIGTRAP, SIGSYS};
    sigset_t all;
    sigset_t before;
    start *given = malloc(sizeof *given);
    if (given == NULL)
        return false;
    *given = (start){run, argument};
    sigfillset(&all);
    for (size_t i = 0; i < sizeof faults / sizeof faults[0]; i++)
        sigdelset(&all, faults[i]);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    const int error = pthread_create(thread, NULL, begin, given);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (error != 0)
        free(given);
    return error == 0;
}

void ss_os_thread_join(ss_os_thread thread) {
    pthread_join(thread, NULL);
}

void ss_os_thread_detach(ss_os_thread thread) {
    pthread_detach(thread);
}
