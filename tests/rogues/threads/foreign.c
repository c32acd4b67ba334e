/* It wants to be loaded by the main thread. */
#define IN_ON_LOAD                                                                        \
    if (gettid() != getpid())                                                             \
    return fail(self, SLIPSTREAM_WRONG_STATE, "this is not the main thread")
#include "good.h"
