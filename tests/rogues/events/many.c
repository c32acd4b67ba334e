/* It has room for 20,000 events. */
#define IN_ON_BROADCAST                                                                   \
    if (self->blocks + self->updates > 20000)                                             \
    return fail(self, SLIPSTREAM_FAILED, "no room is left")
#include "good.h"
