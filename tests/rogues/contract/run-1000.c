/* It has room for runs of 256 events. */
#define WITH_BATCH
#define IN_ON_BROADCAST                                                                   \
    if (delivery->count > 256)                                                            \
    return fail(self, SLIPSTREAM_TOO_LARGE, "too many at once")
#include "good.h"
