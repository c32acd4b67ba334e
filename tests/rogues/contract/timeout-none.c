/* It takes "no limit" for a time that is over. */
#define IN_ON_UNLOAD                                                                      \
    if ((int32_t)timeout_ms < 0)                                                          \
    return fail(self, SLIPSTREAM_TIMEOUT, "the time is over")
#include "good.h"
