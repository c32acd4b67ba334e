/* inline: of Linux, what is too hot for a call, and its types. Behind platform.h. */
#ifndef SS_PLATFORM_LINUX_INLINE_H
#define SS_PLATFORM_LINUX_INLINE_H

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <time.h>

#define SS_OS_SYSTEM "Linux"
#define SS_OS_FORMAT SS_OS_ELF
#define SS_OS_SUFFIX ".so"
#define SS_OS_LIST_FILE "ls -l"
#define SS_OS_LIST_NEEDED "ldd -r"
#define SS_OS_LIST_EXPORTS "nm -D"

#if !defined(__GLIBC__)
#define SS_OS_UNMAPS 0 /* musl's dlclose does nothing */
#endif

typedef pthread_t ss_os_thread;
typedef pthread_mutex_t ss_os_mutex;
typedef pthread_cond_t ss_os_condition;
typedef pthread_once_t ss_os_once;
#define SS_OS_ONCE PTHREAD_ONCE_INIT
struct ss_os_stop_handlers {
    struct sigaction actions[2]; /* SIGINT, SIGTERM */
};

static inline uint64_t ss_os_clock_ns(clockid_t clock) {
    struct timespec now;
    clock_gettime(clock, &now);
    return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

static inline uint64_t ss_os_now_ns(void) {
    return ss_os_clock_ns(CLOCK_MONOTONIC);
}

static inline uint64_t ss_os_wall_ns(void) {
    return ss_os_clock_ns(CLOCK_REALTIME);
}

static inline struct timespec ss_os_timespec(uint64_t ns) {
    return (struct timespec){(time_t)(ns / 1000000000), (long)(ns % 1000000000)};
}

static inline uintptr_t ss_os_self(void) {
#if defined(__x86_64__) || defined(__aarch64__)
    return (uintptr_t)__builtin_thread_pointer();
#else
    return (uintptr_t)pthread_self();
#endif
}

static inline bool ss_os_mutex_init(ss_os_mutex *mutex) {
    return pthread_mutex_init(mutex, NULL) == 0;
}

static inline void ss_os_mutex_destroy(ss_os_mutex *mutex) {
    pthread_mutex_destroy(mutex);
}

static inline void ss_os_mutex_lock(ss_os_mutex *mutex) {
    pthread_mutex_lock(mutex);
}

static inline void ss_os_mutex_unlock(ss_os_mutex *mutex) {
    pthread_mutex_unlock(mutex);
}

static inline void ss_os_condition_destroy(ss_os_condition *condition) {
    pthread_cond_destroy(condition);
}

/* The condition's clock is that of ss_os_now_ns: ss_os_condition_init saw to it. */
static inline bool ss_os_condition_wait(ss_os_condition *condition, ss_os_mutex *mutex,
                                        uint64_t until) {
    const struct timespec end = ss_os_timespec(until);
    return pthread_cond_timedwait(condition, mutex, &end) == 0;
}

static inline void ss_os_condition_wake_all(ss_os_condition *condition) {
    pthread_cond_broadcast(condition);
}

/* A word that the kernel wipes in a child. */
extern _Atomic uint32_t *ss_os_process_word;

static inline bool ss_os_is_process(uint32_t number) {
    return atomic_load_explicit(ss_os_process_word, memory_order_relaxed) == number;
}

static inline void ss_os_call_once(ss_os_once *once, void (*function)(void)) {
    pthread_once(once, function);
}

#endif
