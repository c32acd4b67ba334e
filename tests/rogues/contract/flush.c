/* Asked to flush without a limit of time it says that the time is over. */
#define WITH_EXPLICIT_ACK
#define IN_FLUSH                                                                          \
    if ((int32_t)timeout_ms < 0)                                                          \
    return fail(self, SLIPSTREAM_TIMEOUT, "the time is over")
#include "good.h"
