/* system: files, random bytes, and whether this is a forked child. */
#include "platform/platform.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

/* ---- Files ----------------------------------------------------------------------------- */

int ss_os_file_open(const char *path, size_t *size) {
    struct stat before;
    struct stat info;
    /* Looked at before it is opened, for that may already do something. */
    if (lstat(path, &before) != 0)
        return -1;
    if (!S_ISREG(before.st_mode)) {
        errno = 0;
        return -1;
    }
    const int fd = open(path, O_RDONLY | O_NONBLOCK | O_NOFOLLOW | O_NOCTTY | O_CLOEXEC);
    if (fd < 0)
        return -1;
    if (fstat(fd, &info) != 0 || !S_ISREG(info.st_mode)) {
        close(fd);
        errno = 0;
        return -1;
    }
    *size = (size_t)info.st_size;
    return fd;
}

bool ss_os_file_read(int fd, uint64_t at, void *out, size_t len) {
    return pread(fd, out, len, (off_t)at) == (ssize_t)len;
}

bool ss_os_file_append(int fd, const void *data, size_t len) {
    for (size_t done = 0; done < len;) {
        errno = 0;
        const ssize_t n = write(fd, (const char *)data + done, len - done);
        if (n <= 0 && errno != EINTR)
            return false;
        done += n > 0 ? (size_t)n : 0;
    }
    return true;
}

bool ss_os_file_sync(int fd) {
    return fcntl(fd, F_FULLFSYNC) == 0 || fsync(fd) == 0; /* past the disk's own cache */
}

bool ss_os_file_cut(int fd, uint64_t size) {
    return ftruncate(fd, (off_t)size) == 0;
}

bool ss_os_file_size(int fd, uint64_t *size) {
    struct stat info;
    if (fstat(fd, &info) != 0)
        return false;
    *size = (uint64_t)info.st_size;
    return true;
}

void ss_os_file_close(int fd) {
    const int error = errno;
    close(fd);
    errno = error;
}

int32_t ss_os_who_may_write(const char *path, int fd, bool folder, char *who, size_t room) {
    (void)path, (void)fd, (void)folder;
    snprintf(who, room, "files have modes here");
    return -1;
}

/* ---- Random ---------------------------------------------------------------------------- */

bool ss_os_random(void *out, size_t len) {
    arc4random_buf(out, len);
    return true;
}

/* ---- Forked? --------------------------------------------------------------------------- */

static _Atomic uint32_t last_number = 1;
_Atomic uint32_t ss_os_process_word = 1;

static void forget_number(void) {
    atomic_store(&ss_os_process_word, 0);
}

static void make_fork_mark(void) {
    pthread_atfork(NULL, NULL, forget_number);
}

uint32_t ss_os_process(void) {
    static ss_os_once once = SS_OS_ONCE;
    ss_os_call_once(&once, make_fork_mark);
    uint32_t number = atomic_load(&ss_os_process_word);
    if (number != 0)
        return number;
    /* A child: it takes a number that nobody before it had. */
    const uint32_t next = atomic_fetch_add(&last_number, 1) + 1;
    return atomic_compare_exchange_strong(&ss_os_process_word, &number, next) ? next : number;
}

void ss_os_end_now(void) {
    _exit(0);
}
