/* It wants its third block again and again. */
#define IN_BLOCK                                                                          \
    if (self->blocks == 2)                                                                \
    return SLIPSTREAM_RETRY
#include "good.h"
