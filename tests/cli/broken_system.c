/* A C library in which something does not work, for LD_PRELOAD: what BROKEN names. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

/* The six arguments behind the first, whether or not there are so many. */
#define ARGUMENTS(last)                                                                            \
    va_list list;                                                                                  \
    long a[6];                                                                                     \
    va_start(list, last);                                                                          \
    for (int i = 0; i < 6; i++)                                                                    \
        a[i] = va_arg(list, long);                                                                 \
    va_end(list)

static int is_broken(const char *what) {
    const char *broken = getenv("BROKEN");
    return broken != NULL && strcmp(broken, what) == 0;
}

static int refuse(int error) {
    errno = error;
    return -1;
}

int memfd_create(const char *name, unsigned flags) {
    return is_broken("memfd_create") ? refuse(ENOSYS) : (int)syscall(SYS_memfd_create, name, flags);
}

int fcntl(int fd, int command, ...) {
    ARGUMENTS(command);
    if (command == F_ADD_SEALS && is_broken("seals"))
        return 0;
    return (int)syscall(SYS_fcntl, fd, command, a[0]);
}

int madvise(void *address, size_t len, int advice) {
    if (advice == MADV_WIPEONFORK && is_broken("wipe"))
        return 0;
    if (advice == MADV_WIPEONFORK && is_broken("madvise"))
        return refuse(EINVAL);
    return (int)syscall(SYS_madvise, address, len, advice);
}

int prctl(int option, ...) {
    ARGUMENTS(option);
    if (option == PR_SET_PDEATHSIG && is_broken("prctl"))
        return refuse(EINVAL);
    if (option == PR_SET_PDEATHSIG && is_broken("pdeathsig"))
        return 0;
    return (int)syscall(SYS_prctl, option, a[0], a[1], a[2], a[3]);
}

ssize_t process_vm_readv(pid_t pid, const struct iovec *to, unsigned long to_count,
                         const struct iovec *from, unsigned long from_count, unsigned long flags) {
    if (is_broken("readv"))
        return refuse(EPERM);
    return syscall(SYS_process_vm_readv, pid, to, to_count, from, from_count, flags);
}

FILE *fopen(const char *path, const char *mode) {
    FILE *(*next)(const char *, const char *) =
        (FILE * (*)(const char *, const char *)) dlsym(RTLD_NEXT, "fopen");
    if (strcmp(path, "/proc/self/maps") == 0 && is_broken("maps")) {
        errno = ENOSYS;
        return NULL;
    }
    return next(path, mode);
}

long syscall(long number, ...) {
    ARGUMENTS(number);
    long (*next)(long, ...) = (long (*)(long, ...))dlsym(RTLD_NEXT, "syscall");
    if (number == SYS_futex && a[1] == FUTEX_WAKE && is_broken("wake"))
        return 0;
    if ((number == SYS_futex && a[1] == FUTEX_WAIT && is_broken("futex")) ||
        (number == SYS_membarrier && is_broken("membarrier")) ||
        (number == SYS_pidfd_open && is_broken("pidfd")))
        return refuse(ENOSYS);
    return next(number, a[0], a[1], a[2], a[3], a[4], a[5]);
}
