/* memory: what is mapped twice or seen by another process. Files in memory, sealed so that
 * the other process cannot do more with them than it should, and their mappings. */
#include "platform/platform.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

/* Allocates all of it, so that without memory the answer is an error here, not SIGBUS later.
 * `sealed`: it will be sealed. */
static int memory_file(size_t size, bool sealed) {
    int fd = memfd_create("slipstream", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (fd < 0 && !sealed && (errno == ENOSYS || errno == EPERM))
        fd = open("/dev/shm", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    if (fd < 0)
        return -1;
    int failed;
    while ((failed = fallocate(fd, 0, 0, (off_t)size)) != 0 && errno == EINTR) {
    }
    if (failed == 0)
        return fd;
    ss_os_file_close(fd);
    return -1;
}

/* Against resizing; `read_only`: whoever maps or opens it from now on can only read it, while
 * mappings that exist stay as they are. */
static bool seal(int fd, bool read_only) {
    const int seals = F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL;
    return fcntl(fd, F_ADD_SEALS, read_only ? seals | F_SEAL_FUTURE_WRITE : seals) == 0;
}

static void unmap(void *address, size_t size) {
    const int error = errno;
    munmap(address, size);
    errno = error;
}

static uint8_t *map_mirror(int fd, size_t head, size_t bytes, int rights, int flags) {
    const size_t whole = head + 2 * bytes;
    /* The addresses first, so that both halves lie side by side. */
    uint8_t *base =
        mmap(NULL, whole, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (base == MAP_FAILED)
        return NULL;
    flags |= MAP_SHARED | MAP_FIXED;
    if (mmap(base, head + bytes, rights, flags, fd, 0) == MAP_FAILED ||
        mmap(base + head + bytes, bytes, rights, flags, fd, (off_t)head) == MAP_FAILED) {
        unmap(base, whole);
        return NULL;
    }
    madvise(base, whole, MADV_DONTDUMP);
    return base;
}

uint8_t *ss_os_mirror_new(size_t head, size_t bytes, int *fd) {
    const int file = memory_file(head + bytes, fd != NULL);
    if (file < 0)
        return NULL;
    /* Populated: the first lap of whoever writes shall not be slow. */
    uint8_t *base = map_mirror(file, head, bytes, PROT_READ | PROT_WRITE, MAP_POPULATE);
    if (base != NULL && fd != NULL && !seal(file, true)) {
        unmap(base, head + 2 * bytes);
        base = NULL;
    }
    if (base != NULL && fd != NULL)
        *fd = file;
    else
        ss_os_file_close(file);
    return base;
}

const uint8_t *ss_os_mirror_open(int fd, size_t head, size_t bytes) {
    /* Not populated: a reader shall start, and restart, soon. */
    return map_mirror(fd, head, bytes, PROT_READ, 0);
}

void ss_os_mirror_free(const uint8_t *base, size_t head, size_t bytes) {
    if (base != NULL)
        munmap((void *)(uintptr_t)base, head + 2 * bytes);
}

static void *map_area(int fd, size_t size, int flags) {
    void *area = mmap(NULL, size, PROT_READ | PROT_WRITE, flags, fd, 0);
    return area == MAP_FAILED ? NULL : area;
}

void *ss_os_area_new(size_t size, int *fd) {
    if (fd == NULL)
        return map_area(-1, size, MAP_PRIVATE | MAP_ANONYMOUS);
    const int file = memory_file(size, true);
    if (file < 0)
        return NULL;
    void *area = map_area(file, size, MAP_SHARED | MAP_POPULATE);
    if (area != NULL && seal(file, false)) {
        *fd = file;
        return area;
    }
    if (area != NULL)
        unmap(area, size);
    ss_os_file_close(file);
    return NULL;
}

void *ss_os_area_open(int fd, size_t size) {
    return map_area(fd, size, MAP_SHARED);
}

void ss_os_area_free(void *area, size_t size) {
    if (area != NULL)
        munmap(area, size);
}

void ss_os_wipe(void *memory, size_t len) {
    explicit_bzero(memory, len);
}
