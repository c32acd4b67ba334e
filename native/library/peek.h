/* peek: looking at memory and at the process without trusting either. */
#ifndef SS_PEEK_H
#define SS_PEEK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Copies `len` bytes from an address that may not be readable; false instead of a fault. */
bool ss_peek_read(const void *address, void *out, size_t len);

/* Copies a NUL-terminated text of at most room - 1 bytes. Its length; -1 if it is not
 * readable, -2 if it does not end within `room`. */
int ss_peek_text(const char *address, char *out, size_t room);

/* The index of the first address that is not NULL and does not lie in memory that may be
 * executed; -1 if all do. */
int ss_peek_executable(const uintptr_t *addresses, int count);

/* True if a file of this path is mapped into the process. */
bool ss_peek_mapped(const char *path);

/* Threads of this process, by number. */
enum { SS_THREADS_MAX = 4096 };
typedef struct ss_threads {
    size_t count;
    int ids[SS_THREADS_MAX];
} ss_threads;
void ss_peek_threads(ss_threads *out);

/* True if a thread that is not in `before` comes from the library mapped from `path`: it
 * has the name `comm` of the thread that started it, or its stack leads into the library. */
bool ss_peek_thread_of(const char *path, const char *comm, const ss_threads *before);

#endif
