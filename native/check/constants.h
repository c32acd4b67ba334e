/* constants: the numbers in a library's code: what it compares events with is among them. */
#ifndef SS_CHECK_CONSTANTS_H
#define SS_CHECK_CONSTANTS_H

#include <stddef.h>
#include <stdint.h>

/* Writes at most `room` numbers out of the code of the library that `function` lies in; how many. */
size_t ss_constants_of(uintptr_t function, uint64_t *out, size_t room);

#endif
