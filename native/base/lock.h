/* lock: the sequencer's lock, a word to wait for. Unlike a mutex it may be released by
 * another thread than the one that took it, can be waited for with a deadline, and a
 * caller can ask whether it is itself the holder. */
#ifndef SS_LOCK_H
#define SS_LOCK_H

#include "platform/platform.h"

typedef struct ss_lock {
    _Atomic uint32_t word; /* 0 free, 1 held, 2 held and somebody may wait */
    uint32_t reserved;
    _Atomic(uintptr_t) owner; /* ss_os_self() of the holder */
} ss_lock;

static inline bool ss_lock_is_mine(const ss_lock *lock) {
    return atomic_load_explicit(&lock->owner, memory_order_relaxed) == ss_os_self();
}

static inline bool ss_lock_try(ss_lock *lock) {
    uint32_t free = 0;
    /* Pairs with the release in ss_lock_release. */
    if (!atomic_compare_exchange_strong_explicit(&lock->word, &free, 1, memory_order_acquire,
                                                 memory_order_relaxed))
        return false;
    atomic_store_explicit(&lock->owner, ss_os_self(), memory_order_relaxed);
    return true;
}

/* Waits at most `ms`; false if it was not to be had. */
static inline bool ss_lock_wait(ss_lock *lock, uint32_t ms) {
    if (ss_lock_try(lock))
        return true;
    const uint64_t end = ss_os_now_ns() + ms * UINT64_C(1000000);
    /* Pairs with the release in ss_lock_release. */
    while (atomic_exchange_explicit(&lock->word, 2, memory_order_acquire) != 0) {
        const uint64_t now = ss_os_now_ns();
        if (now >= end)
            return false;
        ss_os_wait(&lock->word, 2, end - now, false);
    }
    atomic_store_explicit(&lock->owner, ss_os_self(), memory_order_relaxed);
    return true;
}

/* For a lock that nobody holds for long; a loop keeps the deadline formal. */
static inline void ss_lock_take(ss_lock *lock) {
    while (!ss_lock_wait(lock, 1000)) {
    }
}

static inline void ss_lock_release(ss_lock *lock) {
    atomic_store_explicit(&lock->owner, 0, memory_order_relaxed);
    /* Pairs with the acquire in ss_lock_try and ss_lock_wait. */
    if (atomic_exchange_explicit(&lock->word, 0, memory_order_release) == 2)
        ss_os_wake(&lock->word, false);
}

#endif
