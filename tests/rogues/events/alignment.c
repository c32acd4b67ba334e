/* It trusts frames to be aligned, as on a processor that traps if they are not. */
#define IN_ON_BROADCAST                                                                   \
    if ((uintptr_t)frames % 8 != 0)                                                       \
    __builtin_trap()
#include "good.h"
