/* peek: looking at texts and at threads without trusting whom they come from. */
#ifndef SS_PEEK_H
#define SS_PEEK_H

#include "platform/platform.h"

/* Copies a NUL-terminated text of at most room - 1 bytes. Its length; -1 if it is not
 * readable, -2 if it does not end within `room`. */
int ss_peek_text(const char *address, char *out, size_t room);

/* Threads of this process, by number. */
enum { SS_THREADS_MAX = 4096 };
typedef struct ss_threads {
    size_t count;
    int ids[SS_THREADS_MAX];
} ss_threads;
void ss_peek_threads(ss_threads *out);

/* 1 if a thread that is not in `before` comes from a library whose code lies at `code`: it has the
 * name `comm` of the thread that started it, or its stack leads there. 0 if none does; -1 if that
 * cannot be seen, of a thread that does not wait for a while, too. */
int ss_peek_thread_of(const ss_os_range *code, size_t count, const char *comm,
                      const ss_threads *before);

#endif
