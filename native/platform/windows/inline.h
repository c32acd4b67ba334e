/* inline: of Windows, what is too hot for a call, and its types. Behind platform.h. The system's
 * own header stays out of here: its macros would reach every file of the core. */
#ifndef SS_PLATFORM_WINDOWS_INLINE_H
#define SS_PLATFORM_WINDOWS_INLINE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SS_OS_SYSTEM "Windows"
#define SS_OS_FORMAT SS_OS_PE
#define SS_OS_SUFFIX ".dll"
#define SS_OS_LIST_FILE "icacls"
#define SS_OS_LIST_NEEDED "dumpbin /dependents"
#define SS_OS_LIST_EXPORTS "dumpbin /exports"

/* Of the size that the system's own have, and 0 as those are at first. */
typedef void *ss_os_thread; /* a handle */
typedef struct ss_os_mutex {
    void *word;
} ss_os_mutex;
typedef struct ss_os_condition {
    void *word;
} ss_os_condition;
typedef struct ss_os_once {
    void *word;
} ss_os_once;
#define SS_OS_ONCE {NULL}
struct ss_os_stop_handlers {
    void (*actions[2])(int); /* SIGINT, SIGTERM */
};

uint64_t ss_windows_now_ns(void);
uint64_t ss_windows_wall_ns(void);
void ss_windows_lock(ss_os_mutex *mutex);
void ss_windows_unlock(ss_os_mutex *mutex);
bool ss_windows_wait(ss_os_condition *condition, ss_os_mutex *mutex, uint64_t until);
void ss_windows_wake_all(ss_os_condition *condition);
void ss_windows_call_once(ss_os_once *once, void (*function)(void));

static inline uint64_t ss_os_now_ns(void) {
    return ss_windows_now_ns();
}

static inline uint64_t ss_os_wall_ns(void) {
    return ss_windows_wall_ns();
}

/* Where the thread's own block lies. */
static inline uintptr_t ss_os_self(void) {
    uintptr_t self;
#if defined(__x86_64__)
    __asm__("movq %%gs:0x30, %0" : "=r"(self));
#elif defined(__aarch64__)
    __asm__("mov %0, x18" : "=r"(self));
#endif
    return self;
}

static inline bool ss_os_mutex_init(ss_os_mutex *mutex) {
    mutex->word = NULL;
    return true;
}

static inline void ss_os_mutex_destroy(ss_os_mutex *mutex) {
    (void)mutex;
}

static inline void ss_os_mutex_lock(ss_os_mutex *mutex) {
    ss_windows_lock(mutex);
}

static inline void ss_os_mutex_unlock(ss_os_mutex *mutex) {
    ss_windows_unlock(mutex);
}

static inline void ss_os_condition_destroy(ss_os_condition *condition) {
    (void)condition;
}

static inline bool ss_os_condition_wait(ss_os_condition *condition, ss_os_mutex *mutex,
                                        uint64_t until) {
    return ss_windows_wait(condition, mutex, until);
}

static inline void ss_os_condition_wake_all(ss_os_condition *condition) {
    ss_windows_wake_all(condition);
}

/* There is no fork. */
static inline bool ss_os_is_process(uint32_t number) {
    return number == 1;
}

static inline void ss_os_call_once(ss_os_once *once, void (*function)(void)) {
    ss_windows_call_once(once, function);
}

#endif
