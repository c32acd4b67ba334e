/* guard.h: memory whose last byte is followed by an unreadable page. */
#ifndef GUARD_H
#define GUARD_H

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

/* A copy of `len` bytes (a page at most, a multiple of 8) that ends where a page without
 * any right begins. It is never freed: programs that use it are short. */
static inline void *guarded_copy(const void *source, size_t len) {
    const size_t page = (size_t)sysconf(_SC_PAGESIZE);
    char *pages = (char *)mmap(NULL, 2 * page, PROT_READ | PROT_WRITE,
                               MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (pages == (char *)MAP_FAILED || mprotect(pages + page, page, PROT_NONE) != 0)
        abort();
    return memcpy(pages + page - len, source, len);
}

#endif
