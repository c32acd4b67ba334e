/* system: files, random bytes, and whether this is a forked child. */
#include "platform/linux/inner.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

/* ---- Files ----------------------------------------------------------------------------- */

int ss_os_file_open(const char *path, size_t *size) {
    struct stat info;
    char again[32];
    const int place = open(path, O_PATH | O_NOFOLLOW | O_CLOEXEC);
    if (place < 0)
        return -1;
    if (fstat(place, &info) != 0 || !S_ISREG(info.st_mode)) {
        close(place);
        errno = 0;
        return -1;
    }
    *size = (size_t)info.st_size;
    if (*size == 0)
        return place; /* what /proc makes up has no size, and may do something when it is opened */
    snprintf(again, sizeof again, "/proc/self/fd/%d", place);
    const int fd = open(again, O_RDONLY | O_NONBLOCK | O_CLOEXEC); /* nor wait for a lease to end */
    ss_os_file_close(place);
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
    return fdatasync(fd) == 0;
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

/* ---- Random ---------------------------------------------------------------------------- */

bool ss_os_random(void *out, size_t len) {
    return getrandom(out, len, 0) == (ssize_t)len;
}

/* ---- Forked? --------------------------------------------------------------------------- */

/* A page that the kernel wipes in the child: 1 means that we are the one who made it. */
static volatile uint8_t *fork_mark;
static pid_t fork_pid;

static void make_fork_mark(void) {
    void *page = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    fork_pid = getpid();
    if (page == MAP_FAILED)
        return;
    if (madvise(page, 4096, MADV_WIPEONFORK) != 0) {
        munmap(page, 4096);
        return;
    }
    *(uint8_t *)page = 1;
    fork_mark = page;
}

bool ss_os_has_fork_mark(void) {
    return fork_mark != NULL;
}

bool ss_os_forked(void) {
    static ss_os_once once = SS_OS_ONCE;
    ss_os_call_once(&once, make_fork_mark);
    return fork_mark != NULL ? *fork_mark == 0 : getpid() != fork_pid;
}
