/* worker_threads: each thread that a plugin starts has a stack for the handler of deadly signals, so
 * that an overflow of its own stack is told like any other crash. The program's functions are found
 * before the C library's. (Who calls clone itself, as Go does, is not seen here.) */
#include "platform/platform.h"

#include <dlfcn.h>
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

typedef int create(pthread_t *, const pthread_attr_t *, void *(*)(void *), void *);

typedef struct start {
    void *(*run)(void *);
    void *argument;
} start;

static create *next;

static void find_next(void) {
    void *found = dlsym(RTLD_NEXT, "pthread_create");
    memcpy(&next, &found, sizeof next);
}

static void *begin(void *given) {
    const start it = *(start *)given;
    void *result;
    free(given);
    void *stack = ss_os_use_fault_stack();
    pthread_cleanup_push(ss_os_leave_fault_stack, stack); /* it may end by pthread_exit, too */
    result = it.run(it.argument);
    pthread_cleanup_pop(1);
    return result;
}

__attribute__((visibility("default"))) int pthread_create(pthread_t *thread,
                                                          const pthread_attr_t *attributes,
                                                          void *(*run)(void *), void *argument) {
    static ss_os_once once = SS_OS_ONCE;
    ss_os_call_once(&once, find_next);
    start *given = malloc(sizeof *given);
    if (given == NULL || next == NULL) {
        free(given);
        return EAGAIN;
    }
    *given = (start){run, argument};
    const int error = next(thread, attributes, begin, given);
    if (error != 0)
        free(given);
    return error;
}
