/* It takes "no limit" for a time that is over. */
#define WITH_EXPLICIT_ACK
#define IN_FLUSH                                                                          \
    if ((int32_t)timeout_ms < 0)                                                          \
    return fail(self, SLIPSTREAM_TIMEOUT, "the time is over")
#include "good.h"
