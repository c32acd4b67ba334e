/* It refuses to be loaded for a reason that it does not know. */
#define IN_ON_LOAD                                                                        \
    if (reason > SLIPSTREAM_LOAD_RESTART)                                                 \
    return fail(self, SLIPSTREAM_INVALID_ARGUMENT, "why am I loaded?")
#include "good.h"
