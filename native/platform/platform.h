/* platform: everything that the core asks of an operating system. A folder beside this file
 * keeps to it for one system; nothing of it knows rings, plugins or Python, and no other file
 * of the core (process/ aside, which only Linux has) includes a header of a system.
 *
 * A port is a folder with:
 *
 *   inline.h    the types below that are marked so, and what is too hot for a call
 *   *.c         the rest
 *
 * All times are nanoseconds; points in time are those of ss_os_now_ns. Paths and texts are bytes
 * as Python's os.fsencode gives them. Where errno is set, its values are those of the C library.
 * Unless it says otherwise, any thread may call anything. tests/native/test_platform.c tries what
 * stands here.
 *
 * Between the marks stand only declarations; the build parses them. */
#ifndef SS_PLATFORM_H
#define SS_PLATFORM_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "platform/cpu.h"
#include "platform/range.h"

/* Kinds of libraries: SS_OS_FORMAT is one of them. */
#define SS_OS_ELF 1
#define SS_OS_PE 2
#define SS_OS_MACH_O 3

#if defined(__linux__)
#include "platform/linux/inline.h"
#elif defined(_WIN32)
#include "platform/windows/inline.h"
#elif defined(__APPLE__)
#include "platform/macos/inline.h"
#else
#error "no folder of native/platform is for this system"
#endif

/* inline.h. What people call this system; the kind of its libraries, and how their names end; the
 * commands that list who may read a file, which libraries one needs, and what it exports. */
#if !defined(SS_OS_SYSTEM) || !defined(SS_OS_FORMAT) || !defined(SS_OS_SUFFIX) || \
    !defined(SS_OS_LIST_FILE) || !defined(SS_OS_LIST_NEEDED) || !defined(SS_OS_LIST_EXPORTS)
#error "the folder of this system says too little"
#endif

/* Does the loader unmap a library that is closed, where nothing in it is against that? inline.h, where
 * it never does. */
#ifndef SS_OS_UNMAPS
#define SS_OS_UNMAPS 1
#endif

/* A point in time that never comes. */
#define SS_OS_NEVER UINT64_MAX

/* ---- Time ------------------------------------------------------------------------------ */

/* inline.h. A clock that nobody sets. */
static inline uint64_t ss_os_now_ns(void);
/* inline.h. The time of day, since 1970. */
static inline uint64_t ss_os_wall_ns(void);
/* May last longer, and end early where a signal comes in between. */
void ss_os_sleep_ns(uint64_t ns);
/* Lets somebody else have this processor who is ready to run, if there is anybody. */
void ss_os_yield(void);

/* ---- Words to wait for ------------------------------------------------------------------ */

/* Waits as long as *word is `seen`, `ns` at most, for ss_os_wake. May return early, for no
 * reason at all. That it still is `seen` is looked at in one step with going to sleep, so that a
 * wake behind a change of the word is never lost. `shared`: the word lies in memory that
 * another process sees; only where there is process mode. */
void ss_os_wait(const _Atomic uint32_t *word, uint32_t seen, uint64_t ns, bool shared);
/* Wakes one who waits for the word, if there is one. A call into the system: look first whether
 * it is needed. The word need not be there any more when it is called. */
void ss_os_wake(const _Atomic uint32_t *word, bool shared);

/* An asymmetric fence. After a thread has called ss_os_barrier, each other thread has run a
 * full fence at some point in between; so those need none of their own in a hot path, but must
 * keep the compiler from reordering. True if this system has it; asking also makes this process
 * one that others reach, so ask before the first word is written that it shall cover. */
bool ss_os_has_barrier(void);
/* False if it could not be had after all: then nothing is known. */
bool ss_os_barrier(void);

/* ---- Threads ---------------------------------------------------------------------------- */

/* inline.h. A number that no other living thread has, not 0; hot: cheaper than a call. */
static inline uintptr_t ss_os_self(void);

/* inline.h: types `ss_os_thread`, `ss_os_mutex`, `ss_os_condition`, `ss_os_once`, and a constant
 * SS_OS_ONCE for the last. */

/* Starts a thread in which no handler of the application's runs: where there are signals all are
 * blocked, but for those that a fault of the thread itself raises, for a crash reporter wants to
 * see them. `run` returns NULL. */
bool ss_os_thread_start(ss_os_thread *thread, void *(*run)(void *), void *argument);
/* Names the calling thread, for debuggers and people; 15 bytes at most count. */
void ss_os_thread_set_name(const char *name);
/* Returns once the thread has ended, its thread-local destructors included. */
void ss_os_thread_join(ss_os_thread thread);
/* Instead of a join: nobody asks for its end. */
void ss_os_thread_detach(ss_os_thread thread);

/* inline.h. Mutexes are not recursive; a condition is waited for with its mutex held, which it
 * holds again afterwards. The wait may return early; false if `until` has come. */
static inline bool ss_os_mutex_init(ss_os_mutex *mutex);
static inline void ss_os_mutex_destroy(ss_os_mutex *mutex);
static inline void ss_os_mutex_lock(ss_os_mutex *mutex);
static inline void ss_os_mutex_unlock(ss_os_mutex *mutex);
bool ss_os_condition_init(ss_os_condition *condition);
static inline void ss_os_condition_destroy(ss_os_condition *condition);
static inline bool ss_os_condition_wait(ss_os_condition *condition, ss_os_mutex *mutex,
                                        uint64_t until);
static inline void ss_os_condition_wake_all(ss_os_condition *condition);

/* inline.h. Calls `function` unless somebody has; returns when it was called. */
static inline void ss_os_call_once(ss_os_once *once, void (*function)(void));

/* ---- Memory ------------------------------------------------------------------------------ */

/* What a mapping may start at: the largest page of any Linux, the granularity of Windows. */
#define SS_OS_PAGE 65536

/* `head` bytes and behind them `bytes` bytes that are there twice, side by side, so that nothing
 * in them wraps. All of it is 0, there (no fault later for lack of memory), and no part of core
 * files if that can be had. Both are multiples of SS_OS_PAGE. NULL with errno set.
 *
 * `fd` not NULL: also a descriptor for another process, which whoever gets it can only read,
 * whatever it tries; ENOTSUP where there is no process mode. The caller closes it. */
uint8_t *ss_os_mirror_new(size_t head, size_t bytes, int *fd);
/* The same in another process, to be read only. */
const uint8_t *ss_os_mirror_open(int fd, size_t head, size_t bytes);
void ss_os_mirror_free(const uint8_t *base, size_t head, size_t bytes);

/* `size` bytes, 0, pages of their own. With `fd` as above, but that the other process can write
 * to them; nobody can change their size. */
void *ss_os_area_new(size_t size, int *fd);
void *ss_os_area_open(int fd, size_t size);
void ss_os_area_free(void *area, size_t size);

/* Overwrites what nobody shall find later; no compiler leaves it out. */
void ss_os_wipe(void *memory, size_t len);

/* Copies `len` bytes from an address that may not be readable; false instead of a fault. */
bool ss_os_read_memory(const void *address, void *out, size_t len);
/* The index of the first address that is not NULL and does not lie in memory that may be
 * executed; -1 if all do. 32 of them at most. */
int ss_os_find_not_executable(const uintptr_t *addresses, int count);

/* ---- Libraries --------------------------------------------------------------------------- */

/* Opens a library by an absolute path, with its symbols for itself alone, all of them resolved.
 * NULL with the reason in `why`, without the path. This runs code of the library, which may hang
 * and keep the system's loader locked: the end of the process does not wait for that. */
void *ss_os_library_open(const char *path, char *why, size_t room);
/* NULL if there is none. */
void *ss_os_library_symbol(void *library, const char *name);
void ss_os_library_close(void *library);
/* Finds one of the libraries that it needs whose file was replaced since the process has it open, so
 * that code of two builds comes together. Its path; false if there is none, or cannot be seen. */
bool ss_os_library_needs_replaced(void *library, char *path, size_t room);
/* Is the file with this path mapped into the process? */
bool ss_os_library_is_mapped(const char *path);

/* Where code of the program and of its libraries lies now; how many ranges fitted. */
size_t ss_os_code_ranges(ss_os_range *out, size_t room);
/* Does the process answer a signal with a function that lies there? The number of the first such
 * signal; 0 if there is none, or where there are no signals. */
int ss_os_signal_into(const ss_os_range *code, size_t count);

/* Is there a kind of threads' own data whose destructor lies there, so that a thread that has such
 * data will call it when it ends? 1, 0; -1 where that cannot be seen. */
int ss_os_key_into(const ss_os_range *code, size_t count);
/* The calling thread has no such data any more; nobody is called for it. */
void ss_os_forget_keys_into(const ss_os_range *code, size_t count);

/* Numbers of this process's threads; how many of them fitted, 0 where they cannot be seen. */
size_t ss_os_thread_ids(int *ids, size_t room);
int ss_os_thread_own_id(void);
/* Its name; false if it has ended, or may not be looked at. */
bool ss_os_thread_get_name(int id, char *out, size_t room);
/* Is this thread in code that lies there, or would it return there? 1; 0, also if it has ended; -1
 * where that cannot be seen: on Linux only a thread that waits can be looked at. */
int ss_os_thread_is_in(int id, const ss_os_range *code, size_t count);

/* What is done where somebody asks the program to end: at Ctrl-C, or politely. */
typedef struct ss_os_stop_handlers ss_os_stop_handlers; /* inline.h */
void ss_os_get_stop_handlers(ss_os_stop_handlers *out);
/* Sets them again where they were changed; the name of the last that was, else NULL. */
const char *ss_os_put_back_stop_handlers(const ss_os_stop_handlers *kept);

/* ---- Files ------------------------------------------------------------------------------- */

/* Opens a regular file for reading. Never waits, and opens nothing else, for that may already do
 * something: no device, no pipe, no link. -1 with errno set, to 0 if it is not a regular file. */
int ss_os_file_open(const char *path, size_t *size);
/* False if there are fewer bytes. */
bool ss_os_file_read(int fd, uint64_t at, void *out, size_t len);
/* Appends all of it; false with errno set, to 0 if the file takes nothing. */
bool ss_os_file_append(int fd, const void *data, size_t len);
/* What was written is there after a failure of power as well; false with errno set. */
bool ss_os_file_sync(int fd);
/* Cuts it to `size` bytes. */
bool ss_os_file_cut(int fd, uint64_t size);
bool ss_os_file_size(int fd, uint64_t *size);
/* Keeps errno. */
void ss_os_file_close(int fd);

/* ---- Signals that end the process -------------------------------------------------------- */

/* A mapping of this process; `name` may be "". */
typedef struct ss_os_map {
    uintptr_t start;
    uintptr_t end;
    uint64_t offset; /* of `start` in the file */
    const char *name;
} ss_os_map;

/* In a handler, too. */
void ss_os_walk_maps(void (*visit)(const ss_os_map *, void *), void *context);
/* Has such a signal told of, once, with the address of the instruction, and of the call that led
 * there if that is not code (0: it is): as of a function pointer that is NULL. Then whoever wanted
 * it before gets it. `told` runs in the signal's handler. For good. */
void ss_os_tell_faults(void (*told)(int number, uintptr_t pc, uintptr_t caller));
/* In a handler, by what it got (siginfo_t, ucontext_t): the call that led to where no code can be
 * read; 0 if that is not what has happened. Not where there are no signals. */
uintptr_t ss_os_fault_caller(const void *info, const void *context);
/* Does a call end there? What lies on a stack that was written over may be any address. */
static inline bool ss_os_is_behind_call(uintptr_t back) {
    enum { LONGEST = 7, DIRECT = 0xE8, INDIRECT = 0xFF };
    uint8_t code[LONGEST]; /* what comes before */
    if (back < LONGEST || !ss_os_read_memory((const void *)(back - LONGEST), code, LONGEST))
        return false;
#if defined(__x86_64__)
    bool found = code[LONGEST - 5] == DIRECT;
    for (int len = 2; len <= LONGEST; len++)
        found |= code[LONGEST - len] == INDIRECT && (code[LONGEST - len + 1] >> 3 & 7) == 2;
    return found;
#else
    return true; /* a register says it */
#endif
}
/* Gives the calling thread a stack for handlers of such signals, where it has none, for its own may
 * have overflowed; each that ss_os_thread_start starts has one. NULL if there is nothing to give
 * back before it ends. */
void *ss_os_use_fault_stack(void);
void ss_os_leave_fault_stack(void *stack);
/* A line to standard error, past all buffers, in one piece if that takes it; in a handler, too. */
void ss_os_write_error(const char *before, const char *text, size_t len);

/* ---- The rest ---------------------------------------------------------------------------- */

/* Bytes that nobody can guess; false if there are none to be had. */
bool ss_os_random(void *out, size_t len);

/* cdef:begin */
/* A number of this process, not 0; each child of a fork has another one. Whoever makes something
 * that a child must not use notes it: what belongs to another process is nobody's here. */
uint32_t ss_os_process(void);

/* Who beside this user and the administrators could change a file, or a folder and what is in it, by
 * its access list: a descriptor, or where that is -1 a path. 0: nobody; 1: `who` has a name; -1: that
 * cannot be seen, `who` says why. Where there are modes instead, -1. */
int32_t ss_os_who_may_write(const char *path, int fd, bool folder, char *who, size_t room);

/* What failed when memory could not be had last, on this thread, as the system calls it; "memory"
 * where none of its calls has failed since that was forgotten. */
const char *ss_os_refused_call(void);
void ss_os_forget_refused_call(void);

/* Something that the core asks of this system. */
typedef struct ss_os_trial {
    const char *name;  /* as the system calls it */
    const char *found; /* until the next one */
    bool works;
} ss_os_trial;

/* Tries thing number `number` as the core uses it; false behind the last. May start children,
 * and last some seconds where something does not work. */
bool ss_os_try(uint32_t number, ss_os_trial *out);
/* cdef:end */

/* inline.h. Hot: is that the number of this process? Once somebody has asked for it. */
static inline bool ss_os_is_process(uint32_t number);
/* Ends this process at once, and does nothing else. */
_Noreturn void ss_os_end_now(void);
/* Behind a call of foreign code on a thread of ours: a child that it has forked, and that comes
 * back from it, has one thread where we have many. */
static inline void ss_os_end_if_forked(uint32_t process) {
    if (__builtin_expect(!ss_os_is_process(process), 0))
        ss_os_end_now();
}

#endif
