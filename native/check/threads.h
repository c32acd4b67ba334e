/* threads: on which thread the plugin is called. */
#ifndef SS_CHECK_THREADS_H
#define SS_CHECK_THREADS_H

#include <stddef.h>
#include <stdint.h>

enum { SS_CALLERS = 4 };

/* From now on calls come from thread number `at`, 0 being the main one; another one is started
 * with a stack of that many bytes (0: the usual), once. */
void ss_threads_choose(uint32_t at, size_t stack);
/* Runs it there, and waits for it. */
void ss_threads_run(void (*function)(void *), void *argument);
/* Runs it on `count` threads at once, with 0 to count - 1, and waits for them. */
void ss_threads_race(uint32_t count, void (*function)(void *, uint32_t), void *argument);

#endif
