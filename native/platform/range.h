/* range: a piece of the address space. */
#ifndef SS_RANGE_H
#define SS_RANGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct ss_os_range {
    uintptr_t start;
    uintptr_t end;
} ss_os_range;

static inline bool ss_os_lies_in(uintptr_t address, const ss_os_range *ranges, size_t count) {
    for (size_t i = 0; i < count; i++)
        if (address >= ranges[i].start && address < ranges[i].end)
            return true;
    return false;
}

#endif
