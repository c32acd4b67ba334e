/* allocations: the memory that a plugin asks for, counted, and once not given. */
#ifndef SS_CHECK_ALLOCATIONS_H
#define SS_CHECK_ALLOCATIONS_H

#include <stdint.h>

/* Counts those within calls of the plugin from now on; number `failing` of them fails (0: none). */
void ss_allocations_watch(uint64_t failing);
/* Stops that; how many there were. */
uint64_t ss_allocations_stop(void);

#endif
