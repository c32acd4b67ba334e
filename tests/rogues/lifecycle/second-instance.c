/* Its flags promise that there may be several instances; only one can be loaded. */
#define STATE int has_it;
#include "rogue.h"
static int taken;
#define ON_LOADED                                                                         \
    if (taken)                                                                            \
        return fail(self, SLIPSTREAM_FAILED, "there is one already");                     \
    taken = self->has_it = 1
#define IN_DESTROY                                                                        \
    if (self->has_it)                                                                     \
    taken = 0
#include "good.h"
