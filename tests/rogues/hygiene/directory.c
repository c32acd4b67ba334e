/* It changes the working directory. */
#define ON_LOADED                                                                         \
    if (chdir("/") != 0)                                                                  \
    return fail(self, SLIPSTREAM_IO, "cannot go there")
#include "good.h"
