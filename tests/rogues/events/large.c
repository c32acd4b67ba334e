/* It has no room for a value of more than a megabyte. */
#define IN_UPDATE                                                                         \
    if (update.value.len > 1 << 20)                                                       \
    return SLIPSTREAM_TOO_LARGE
#define IN_BLOCK                                                                          \
    if (block.block.len > 1 << 20)                                                        \
    return SLIPSTREAM_TOO_LARGE
#include "good.h"
