/* wait: words to wait for. There is no asymmetric fence here. */
#include "platform/platform.h"

#include <sched.h>

/* Of the system's library since 10.12, in no header of it; C++ and Rust stand on the same. */
int __ulock_wait(uint32_t operation, void *address, uint64_t seen, uint32_t us);
int __ulock_wake(uint32_t operation, void *address, uint64_t unused);

enum { COMPARE_AND_WAIT = 1 };

void ss_os_wait(const _Atomic uint32_t *word, uint32_t seen, uint64_t ns, bool shared) {
    const uint64_t us = ns / 1000 + (ns % 1000 != 0);
    (void)shared;
    if (us != 0) /* 0 would be for ever */
        __ulock_wait(COMPARE_AND_WAIT, (void *)(uintptr_t)word, seen,
                     us < UINT32_MAX ? (uint32_t)us : UINT32_MAX);
}

void ss_os_wake(const _Atomic uint32_t *word, bool shared) {
    (void)shared;
    __ulock_wake(COMPARE_AND_WAIT, (void *)(uintptr_t)word, 0);
}

bool ss_os_has_barrier(void) {
    return false;
}

bool ss_os_barrier(void) {
    return false;
}

void ss_os_sleep_ns(uint64_t ns) {
    const struct timespec nap = ss_os_timespec(ns);
    nanosleep(&nap, NULL);
}

void ss_os_yield(void) {
    sched_yield();
}
