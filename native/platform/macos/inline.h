/* inline: of macOS, what is too hot for a call, and its types. Behind platform.h. */
#ifndef SS_PLATFORM_MACOS_INLINE_H
#define SS_PLATFORM_MACOS_INLINE_H

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <time.h>

#define SS_OS_SYSTEM "macOS"
#define SS_OS_FORMAT SS_OS_MACH_O
#define SS_OS_SUFFIX ".dylib"
#define SS_OS_LIST_FILE "ls -l"
#define SS_OS_LIST_NEEDED "otool -L"
#define SS_OS_LIST_EXPORTS "nm -gU"

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

/* Not the processor's register: on arm64 that is not a thread's own for compilers to read. */
static inline uintptr_t ss_os_self(void) {
    return (uintptr_t)pthread_self();
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

/* A condition's clock can be set by people here: so it is how long that counts. */
static inline bool ss_os_condition_wait(ss_os_condition *condition, ss_os_mutex *mutex,
                                        uint64_t until) {
    const uint64_t now = ss_os_now_ns();
    const uint64_t most = UINT64_C(86400) * 1000000000;
    const uint64_t left = until > now ? until - now : 0;
    const struct timespec wait = ss_os_timespec(left < most ? left : most);
    return pthread_cond_timedwait_relative_np(condition, mutex, &wait) == 0 || left > most;
}

static inline void ss_os_condition_wake_all(ss_os_condition *condition) {
    pthread_cond_broadcast(condition);
}

/* The C library tells of a fork; it is 0 in a child until somebody asks. */
extern _Atomic uint32_t ss_os_process_word;

static inline bool ss_os_is_process(uint32_t number) {
    return atomic_load_explicit(&ss_os_process_word, memory_order_relaxed) == number;
}

static inline void ss_os_call_once(ss_os_once *once, void (*function)(void)) {
    pthread_once(once, function);
}

#endif
