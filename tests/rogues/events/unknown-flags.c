/* It refuses a frame with a flag that it does not know, though that may be ignored. */
#define IN_FRAME                                                                          \
    if (status == SLIPSTREAM_OK && (frame.flags & 0xFFF0) != 0)                           \
    status = SLIPSTREAM_UNSUPPORTED
#include "good.h"
