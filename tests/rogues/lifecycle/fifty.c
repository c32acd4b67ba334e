/* Each instance costs one of thirty-two places in the library, and does not give it back. */
#include "rogue.h"
static int taken;
#define ON_LOADED                                                                         \
    if (++taken > 32)                                                                     \
    return fail(self, SLIPSTREAM_FAILED, "no place is left")
#include "good.h"
