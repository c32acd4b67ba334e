/* state: what of a process belongs to the process, and not to a plugin in it. */
#ifndef SS_CHECK_STATE_H
#define SS_CHECK_STATE_H

#include <stdbool.h>
#include <stdint.h>

/* Keeps how it is now as number `at`, below SS_KEPT. On the thread that calls the plugin. */
enum { SS_KEPT = 4 };
void ss_state_keep(uint32_t at);
/* Tells of each part of the set that is not as it was kept. */
void ss_state_compare(uint32_t at, uint32_t parts);

/* Whether another thread of the process runs, or would if the machine let it. */
bool ss_state_others_run(void);

/* Bytes of the heap in use, where the C library tells (else 0), and mappings of the process. */
void ss_state_heap(uint64_t *bytes, uint64_t *mappings);

#endif
