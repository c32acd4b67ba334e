/* coverage: which ways a plugin's code has taken, if it was built so that it tells. */
#ifndef SS_CHECK_COVERAGE_H
#define SS_CHECK_COVERAGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

bool ss_coverage_is_there(void);

/* Takes what was taken since the last time; how much of it is new. */
uint32_t ss_coverage_fold(void);
/* How many edges were ever taken. */
uint32_t ss_coverage_edges(void);

/* Whether numbers that are compared are kept, and one of them; 0 where there is none. */
void ss_coverage_watch_numbers(bool watch);
uint64_t ss_coverage_number(uint64_t which);

#endif
