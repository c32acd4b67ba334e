/* lock: the sequencer's lock, a futex. Unlike a pthread mutex it may be released by
 * another thread than the one that took it, can be waited for with a deadline, and a
 * caller can ask whether it is itself the holder. */
#ifndef SS_LOCK_H
#define SS_LOCK_H

#include <linux/futex.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

/* A number that no other living thread has; cheaper than a call. */
static inline uintptr_t ss_self(void) {
#if defined(__x86_64__) || defined(__aarch64__)
    return (uintptr_t)__builtin_thread_pointer();
#else
    return (uintptr_t)pthread_self();
#endif
}

typedef struct ss_lock {
    _Atomic uint32_t word; /* 0 free, 1 held, 2 held and somebody may wait */
    uint32_t reserved;
    _Atomic(uintptr_t) owner; /* ss_self() of the holder */
} ss_lock;

static inline bool ss_lock_is_mine(const ss_lock *lock) {
    return atomic_load_explicit(&lock->owner, memory_order_relaxed) == ss_self();
}

static inline bool ss_lock_try(ss_lock *lock) {
    uint32_t free = 0;
    if (!atomic_compare_exchange_strong_explicit(&lock->word, &free, 1, memory_order_acquire,
                                                 memory_order_relaxed))
        return false;
    atomic_store_explicit(&lock->owner, ss_self(), memory_order_relaxed);
    return true;
}

/* Waits at most `ms`; false if it was not to be had. */
static inline bool ss_lock_wait(ss_lock *lock, uint32_t ms) {
    struct timespec now;
    if (ss_lock_try(lock))
        return true;
    clock_gettime(CLOCK_MONOTONIC, &now);
    const int64_t end = (int64_t)now.tv_sec * 1000000000 + now.tv_nsec + (int64_t)ms * 1000000;
    while (atomic_exchange_explicit(&lock->word, 2, memory_order_acquire) != 0) {
        clock_gettime(CLOCK_MONOTONIC, &now);
        const int64_t left = end - ((int64_t)now.tv_sec * 1000000000 + now.tv_nsec);
        if (left <= 0)
            return false;
        const struct timespec wait = {left / 1000000000, left % 1000000000};
        syscall(SYS_futex, &lock->word, FUTEX_WAIT_PRIVATE, 2, &wait, NULL, 0);
    }
    atomic_store_explicit(&lock->owner, ss_self(), memory_order_relaxed);
    return true;
}

/* For a lock that nobody holds for long; a loop keeps the deadline formal. */
static inline void ss_lock_take(ss_lock *lock) {
    while (!ss_lock_wait(lock, 1000)) {
    }
}

static inline void ss_lock_release(ss_lock *lock) {
    atomic_store_explicit(&lock->owner, 0, memory_order_relaxed);
    if (atomic_exchange_explicit(&lock->word, 0, memory_order_release) == 2)
        syscall(SYS_futex, &lock->word, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0);
}

#endif
