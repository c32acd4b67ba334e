/* It wants its first event to be number 1. */
#define STATE uint64_t events;
#define IN_ON_BROADCAST                                                                   \
    if (self->events++ == 0 && delivery->first_ordinal == 1000)                           \
    return fail(self, SLIPSTREAM_INVALID_ARGUMENT, "where is the first event?")
#include "good.h"
