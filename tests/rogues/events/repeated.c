/* It refuses an event that comes a second time. */
#define IN_ON_BROADCAST                                                                   \
    if (delivery->attempt > 1)                                                            \
    return fail(self, SLIPSTREAM_FAILED, "I had that already")
#include "good.h"
