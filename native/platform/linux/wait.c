/* wait: words to wait for, and barriers. */
#include "platform/platform.h"

#include <linux/futex.h>
#include <linux/membarrier.h>
#include <sched.h>
#include <sys/syscall.h>
#include <unistd.h>

void ss_os_wait(const _Atomic uint32_t *word, uint32_t seen, uint64_t ns, bool shared) {
    const struct timespec wait = ss_os_timespec(ns);
    syscall(SYS_futex, word, shared ? FUTEX_WAIT : FUTEX_WAIT_PRIVATE, seen, &wait, NULL, 0);
}

void ss_os_wake(const _Atomic uint32_t *word, bool shared) {
    syscall(SYS_futex, word, shared ? FUTEX_WAKE : FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0);
}

bool ss_os_has_barrier(void) {
    static _Atomic uint32_t registered; /* the process that is; a child of it need not be */
    const uint32_t process = ss_os_process();
    if (atomic_load(&registered) == process)
        return true;
    if (syscall(SYS_membarrier, MEMBARRIER_CMD_REGISTER_GLOBAL_EXPEDITED, 0, 0) != 0)
        return false;
    atomic_store(&registered, process);
    return true;
}

bool ss_os_barrier(void) {
    return syscall(SYS_membarrier, MEMBARRIER_CMD_GLOBAL_EXPEDITED, 0, 0) == 0;
}

void ss_os_sleep_ns(uint64_t ns) {
    const struct timespec nap = ss_os_timespec(ns);
    nanosleep(&nap, NULL);
}

void ss_os_yield(void) {
    sched_yield();
}
