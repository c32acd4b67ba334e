#include "ring/memory.h"

#include "ring/ring.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

enum { CONTROL_SIZE = (sizeof(ss_control) + SS_PAGE - 1) / SS_PAGE * SS_PAGE };

static void close_keeping_errno(int fd) {
    const int error = errno;
    close(fd);
    errno = error;
}

int ss_memory_file(size_t size) {
    int fd = memfd_create("slipstream", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (fd < 0 && (errno == ENOSYS || errno == EPERM)) /* it cannot be sealed, but used */
        fd = open("/dev/shm", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    if (fd < 0)
        return -1;
    /* Allocated now: without memory the answer is an error here, not SIGBUS later. */
    int failed;
    while ((failed = fallocate(fd, 0, 0, (off_t)size)) != 0 && errno == EINTR) {
    }
    if (failed != 0) {
        close_keeping_errno(fd);
        return -1;
    }
    return fd;
}

bool ss_memory_seal(int fd, bool read_only) {
    const int seals = F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL;
    return fcntl(fd, F_ADD_SEALS, read_only ? seals | F_SEAL_FUTURE_WRITE : seals) == 0;
}

uint8_t *ss_ring_map(int fd, size_t bytes, bool writable) {
    const int rights = writable ? PROT_READ | PROT_WRITE : PROT_READ;
    /* The producer's first lap shall not be slow; a reader shall start, and restart, soon. */
    const int flags = MAP_SHARED | MAP_FIXED | (writable ? MAP_POPULATE : 0);
    const size_t whole = SS_PAGE + 2 * bytes;
    /* The addresses first, so that both halves lie side by side. */
    uint8_t *base =
        mmap(NULL, whole, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (base == MAP_FAILED)
        return NULL;
    if (mmap(base, SS_PAGE + bytes, rights, flags, fd, 0) == MAP_FAILED ||
        mmap(base + SS_PAGE + bytes, bytes, rights, flags, fd, SS_PAGE) == MAP_FAILED) {
        const int error = errno;
        munmap(base, whole);
        errno = error;
        return NULL;
    }
    madvise(base, whole, MADV_DONTDUMP); /* a core file without the events, if possible */
    return base;
}

void ss_ring_unmap(uint8_t *base, size_t bytes) {
    if (base != NULL)
        munmap(base, SS_PAGE + 2 * bytes);
}

ss_control *ss_control_new(int *fd) {
    const int rights = PROT_READ | PROT_WRITE;
    if (fd == NULL) {
        void *area = mmap(NULL, CONTROL_SIZE, rights, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        return area == MAP_FAILED ? NULL : area;
    }
    *fd = ss_memory_file(CONTROL_SIZE);
    if (*fd < 0)
        return NULL;
    void *area = mmap(NULL, CONTROL_SIZE, rights, MAP_SHARED | MAP_POPULATE, *fd, 0);
    if (area != MAP_FAILED && ss_memory_seal(*fd, false))
        return area;
    close_keeping_errno(*fd);
    if (area != MAP_FAILED) {
        const int error = errno;
        munmap(area, CONTROL_SIZE);
        errno = error;
    }
    *fd = -1;
    return NULL;
}

void ss_control_free(ss_control *control) {
    if (control != NULL)
        munmap(control, CONTROL_SIZE);
}
