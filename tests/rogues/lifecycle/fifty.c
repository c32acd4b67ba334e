/* Each instance that gets no event costs one of thirty-two places in the library. */
#define STATE int had_events;
#include "rogue.h"
static int taken;
#define ON_LOADED                                                                         \
    if (++taken > 32)                                                                     \
    return fail(self, SLIPSTREAM_FAILED, "no place is left")
#define IN_ON_BROADCAST                                                                   \
    taken -= !self->had_events;                                                           \
    self->had_events = 1
#include "good.h"
