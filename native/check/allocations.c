/* The program's own malloc stands before the C library's for everybody in the process. */
#include "check/allocations.h"

#include "check/notes.h"

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>

static _Atomic uint64_t counted;
static _Atomic uint64_t fails;
static _Atomic uint32_t is_on;

void ss_allocations_watch(uint64_t failing) {
    counted = 0;
    fails = failing;
    is_on = 1;
}

uint64_t ss_allocations_stop(void) {
    is_on = 0;
    return counted;
}

#if defined(__GLIBC__) && !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
#define EVERYBODYS __attribute__((visibility("default")))

void *__libc_malloc(size_t size);
void *__libc_calloc(size_t count, size_t size);
void *__libc_realloc(void *old, size_t size);

EVERYBODYS void *malloc(size_t size);
EVERYBODYS void *calloc(size_t count, size_t size);
EVERYBODYS void *realloc(void *old, size_t size);

static bool is_refused(void) {
    if (is_on == 0 || __atomic_load_n(&ss_trace()->in_call, __ATOMIC_RELAXED) == 0)
        return false;
    if (++counted != fails)
        return false;
    errno = ENOMEM;
    return true;
}

void *malloc(size_t size) {
    return is_refused() ? NULL : __libc_malloc(size);
}

void *calloc(size_t count, size_t size) {
    return is_refused() ? NULL : __libc_calloc(count, size);
}

void *realloc(void *old, size_t size) {
    return is_refused() ? NULL : __libc_realloc(old, size);
}
#endif
