/* system: files, random bytes, and whether this is a forked child. */
#include "platform/linux/inner.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

/* ---- Files ----------------------------------------------------------------------------- */

/* By its path once more, if that still is the file that was looked at. */
static int open_the_same(const char *path, const struct stat *seen) {
    struct stat info;
    const int fd = open(path, O_RDONLY | O_NONBLOCK | O_NOFOLLOW | O_NOCTTY | O_CLOEXEC);
    if (fd < 0 || (fstat(fd, &info) == 0 && info.st_dev == seen->st_dev &&
                   info.st_ino == seen->st_ino))
        return fd;
    close(fd);
    errno = 0;
    return -1;
}

int ss_os_file_open(const char *path, size_t *size) {
    struct stat info;
    char again[32];
    /* What /proc has of an open file is no way to another one: nobody can change where it leads. */
    const int follow = strncmp(path, "/proc/self/fd/", 14) == 0 ? 0 : O_NOFOLLOW;
    const int place = open(path, O_PATH | follow | O_CLOEXEC);
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
    int fd = open(again, O_RDONLY | O_NONBLOCK | O_CLOEXEC); /* nor wait for a lease to end */
    if (fd < 0 && errno == ENOENT)
        fd = open_the_same(path, &info); /* there is no /proc */
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

int32_t ss_os_who_may_write(const char *path, int fd, bool folder, char *who, size_t room) {
    (void)path, (void)fd, (void)folder;
    snprintf(who, room, "files have modes here");
    return -1;
}

/* ---- Random ---------------------------------------------------------------------------- */

bool ss_os_random(void *out, size_t len) {
    return getrandom(out, len, 0) == (ssize_t)len;
}

/* ---- Forked? --------------------------------------------------------------------------- */

/* Where the kernel cannot wipe a page, the C library tells us of a fork; of a bare clone nobody
 * does then. */
static _Atomic uint32_t told_of_forks = 1;
static _Atomic uint32_t last_number = 1;
_Atomic uint32_t *ss_os_process_word = &told_of_forks;

static void forget_number(void) {
    atomic_store(&told_of_forks, 0);
}

static void make_fork_mark(void) {
    void *page = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (page != MAP_FAILED && madvise(page, 4096, MADV_WIPEONFORK) == 0) {
        ss_os_process_word = page;
        atomic_store(ss_os_process_word, 1);
        return;
    }
    if (page != MAP_FAILED)
        munmap(page, 4096);
    pthread_atfork(NULL, NULL, forget_number);
}

bool ss_os_has_fork_mark(void) {
    return ss_os_process_word != &told_of_forks;
}

uint32_t ss_os_process(void) {
    static ss_os_once once = SS_OS_ONCE;
    ss_os_call_once(&once, make_fork_mark);
    uint32_t number = atomic_load(ss_os_process_word);
    if (number != 0)
        return number;
    /* A child: it takes a number that nobody before it had. */
    const uint32_t next = atomic_fetch_add(&last_number, 1) + 1;
    return atomic_compare_exchange_strong(ss_os_process_word, &number, next) ? next : number;
}

void ss_os_end_now(void) {
    _exit(0);
}
