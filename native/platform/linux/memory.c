/* memory: what is mapped twice or seen by another process. Files in memory, sealed so that
 * the other process cannot do more with them than it should, and their mappings. */
#include "platform/platform.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23 /* Linux 5.14, which older headers do not have */
#endif

/* What could not be had last, on this thread. */
static _Thread_local const char *refused_call;

static bool refused(const char *call) {
    refused_call = call;
    return false;
}

const char *ss_os_refused_call(void) {
    return refused_call != NULL ? refused_call : "memory";
}

void ss_os_forget_refused_call(void) {
    refused_call = NULL;
}

/* Allocates all of it, so that without memory the answer is an error here, not SIGBUS later. */
static int memory_file(size_t size) {
    const int fd = memfd_create("slipstream", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (fd < 0) {
        refused("memfd_create");
        return -1;
    }
    int failed;
    while ((failed = fallocate(fd, 0, 0, (off_t)size)) != 0 && errno == EINTR) {
    }
    if (failed == 0)
        return fd;
    refused("fallocate of a memory file");
    ss_os_file_close(fd);
    return -1;
}

/* Against resizing; `read_only`: whoever maps or opens it from now on can only read it, while
 * mappings that exist stay as they are. */
static bool seal(int fd, bool read_only) {
    const int seals = F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL;
    return fcntl(fd, F_ADD_SEALS, read_only ? seals | F_SEAL_FUTURE_WRITE : seals) == 0 ||
           refused(read_only ? "the seal F_SEAL_FUTURE_WRITE" : "sealing a memory file");
}

static void unmap(void *address, size_t size) {
    const int error = errno;
    munmap(address, size);
    errno = error;
}

/* The addresses first, so that both halves lie side by side. */
static uint8_t *reserve(size_t whole) {
    uint8_t *base =
        mmap(NULL, whole, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (base != MAP_FAILED)
        return base;
    refused("mmap");
    return NULL;
}

static uint8_t *map_mirror(int fd, size_t head, size_t bytes, int rights, int flags) {
    const size_t whole = head + 2 * bytes;
    uint8_t *base = reserve(whole);
    if (base == NULL)
        return NULL;
    flags |= MAP_SHARED | MAP_FIXED;
    if (mmap(base, head + bytes, rights, flags, fd, 0) == MAP_FAILED ||
        mmap(base + head + bytes, bytes, rights, flags, fd, (off_t)head) == MAP_FAILED) {
        refused("mmap of a memory file");
        unmap(base, whole);
        return NULL;
    }
    madvise(base, whole, MADV_DONTDUMP);
    return base;
}

/* Without a file, where a sandbox or the kernel gives none: for this process alone. */
static uint8_t *map_own_mirror(size_t head, size_t bytes) {
    const size_t whole = head + 2 * bytes;
    const int rights = PROT_READ | PROT_WRITE;
    const int flags = MAP_SHARED | MAP_ANONYMOUS | MAP_FIXED;
    uint8_t *base = reserve(whole);
    if (base == NULL)
        return NULL;
    /* An old size of 0 maps what is shared there once more. */
    if (mmap(base, head + bytes, rights, flags, -1, 0) == MAP_FAILED ||
        madvise(base, head + bytes, MADV_POPULATE_WRITE) != 0 ||
        mremap(base + head, 0, bytes, MREMAP_MAYMOVE | MREMAP_FIXED, base + head + bytes) ==
            MAP_FAILED) {
        unmap(base, whole);
        return NULL;
    }
    madvise(base, whole, MADV_DONTDUMP);
    return base;
}

uint8_t *ss_os_mirror_new(size_t head, size_t bytes, int *fd) {
    const int file = memory_file(head + bytes);
    if (file < 0) {
        const int error = errno;
        uint8_t *own = fd == NULL ? map_own_mirror(head, bytes) : NULL;
        errno = error;
        return own;
    }
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
    if (area != MAP_FAILED)
        return area;
    refused("mmap");
    return NULL;
}

void *ss_os_area_new(size_t size, int *fd) {
    if (fd == NULL)
        return map_area(-1, size, MAP_PRIVATE | MAP_ANONYMOUS);
    const int file = memory_file(size);
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
