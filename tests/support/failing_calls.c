/* failing_calls: for LD_PRELOAD. Fails the n-th of a kind of calls that the core makes, or the
 * worker: armed by fail_nth, in a worker by FAILING="call n" in its environment; it then leaves a
 * mark in the file FAILED. What others call, the interpreter above all, goes through. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <spawn.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

static char armed[32];
static atomic_long left; /* calls until the one that fails; 0: none does */

void fail_nth(const char *call, long n) {
    snprintf(armed, sizeof armed, "%s", call);
    atomic_store(&left, n);
}

/* Was it reached? From now on nothing fails. */
int fail_reached(void) {
    return atomic_exchange(&left, 0) <= 0;
}

__attribute__((constructor)) static void arm(void) {
    const char *failing = getenv("FAILING");
    char call[32];
    long n;
    if (failing != NULL && sscanf(failing, "%31s %ld", call, &n) == 2)
        fail_nth(call, n);
}

static int is_ours(const void *caller) {
    Dl_info info;
    return dladdr(caller, &info) != 0 && (strstr(info.dli_fname, "_core") != NULL ||
                                          strstr(info.dli_fname, "slipstream-worker") != NULL);
}

static int fails(const char *call, const void *caller) {
    if (atomic_load(&left) <= 0 || strcmp(call, armed) != 0 || !is_ours(caller) ||
        atomic_fetch_sub(&left, 1) != 1)
        return 0;
    const char *mark = getenv("FAILED");
    if (mark != NULL)
        close(open(mark, O_WRONLY | O_CREAT | O_CLOEXEC, 0600));
    return 1;
}

#define FAILS(call) fails(call, __builtin_return_address(0))
#define NEXT(name, call) __typeof__(&name) call = (__typeof__(&name))dlsym(RTLD_NEXT, #name)

int memfd_create(const char *name, unsigned flags) {
    if (FAILS("memfd_create"))
        return errno = EMFILE, -1;
    return (int)syscall(SYS_memfd_create, name, flags);
}

void *mmap(void *address, size_t len, int rights, int flags, int fd, off_t offset) {
    if (FAILS("mmap"))
        return errno = ENOMEM, MAP_FAILED;
    return (void *)syscall(SYS_mmap, address, len, rights, flags, fd, offset);
}

/* Memory of the heap: only the core's, by glibc's own names, for dlsym itself needs some. */
void *__libc_malloc(size_t size);
void *__libc_calloc(size_t count, size_t size);
void *__libc_realloc(void *memory, size_t size);

void *malloc(size_t size) {
    return FAILS("malloc") ? (errno = ENOMEM, NULL) : __libc_malloc(size);
}

void *calloc(size_t count, size_t size) {
    return FAILS("calloc") ? (errno = ENOMEM, NULL) : __libc_calloc(count, size);
}

void *realloc(void *memory, size_t size) {
    return FAILS("realloc") ? (errno = ENOMEM, NULL) : __libc_realloc(memory, size);
}

char *strdup(const char *text) {
    const size_t size = strlen(text) + 1;
    char *copy = FAILS("strdup") ? NULL : __libc_malloc(size);
    return copy == NULL ? (errno = ENOMEM, NULL) : memcpy(copy, text, size);
}

int fallocate(int fd, int mode, off_t offset, off_t len) {
    if (FAILS("fallocate"))
        return errno = ENOSPC, -1;
    if (FAILS("interrupted")) /* by a signal: that is no failure */
        return errno = EINTR, -1;
    return (int)syscall(SYS_fallocate, fd, mode, offset, len);
}

int fcntl(int fd, int command, ...) {
    va_list list;
    va_start(list, command);
    const long argument = va_arg(list, long);
    va_end(list);
    if (FAILS("fcntl"))
        return errno = command == F_DUPFD_CLOEXEC ? EMFILE : EPERM, -1;
    return (int)syscall(SYS_fcntl, fd, command, argument);
}

int open(const char *path, int flags, ...) {
    va_list list;
    va_start(list, flags);
    const unsigned mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(list, unsigned) : 0;
    va_end(list);
    if (FAILS("open"))
        return errno = EMFILE, -1;
    return (int)syscall(SYS_openat, AT_FDCWD, path, flags, mode);
}

int socketpair(int domain, int type, int protocol, int ends[2]) {
    if (FAILS("socketpair"))
        return errno = EMFILE, -1;
    return (int)syscall(SYS_socketpair, domain, type, protocol, ends);
}

int pipe2(int ends[2], int flags) {
    if (FAILS("pipe2"))
        return errno = EMFILE, -1;
    return (int)syscall(SYS_pipe2, ends, flags);
}

int eventfd(unsigned count, int flags) {
    if (FAILS("eventfd"))
        return errno = EMFILE, -1;
    return (int)syscall(SYS_eventfd2, count, flags);
}

int posix_spawn(pid_t *pid, const char *path, const posix_spawn_file_actions_t *actions,
                const posix_spawnattr_t *attributes, char *const argv[], char *const environment[]) {
    NEXT(posix_spawn, next);
    return FAILS("posix_spawn") ? EAGAIN
                                : next(pid, path, actions, attributes, argv, environment);
}

int pthread_create(pthread_t *thread, const pthread_attr_t *attributes, void *(*run)(void *),
                   void *argument) {
    NEXT(pthread_create, next);
    return FAILS("pthread_create") ? EAGAIN : next(thread, attributes, run, argument);
}

int fdatasync(int fd) {
    if (FAILS("fdatasync"))
        return errno = ENOSPC, -1;
    return (int)syscall(SYS_fdatasync, fd);
}

long syscall(long number, ...) {
    NEXT(syscall, next);
    va_list list;
    long a[6];
    va_start(list, number);
    for (int i = 0; i < 6; i++)
        a[i] = va_arg(list, long);
    va_end(list);
    if (number == SYS_pidfd_open && FAILS("pidfd_open"))
        return errno = EMFILE, -1;
    return next(number, a[0], a[1], a[2], a[3], a[4], a[5]);
}
