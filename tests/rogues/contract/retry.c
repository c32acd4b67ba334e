/* The eighth event of a stream it wants again and again. */
#define IN_FRAME                                                                          \
    if (status == SLIPSTREAM_OK && frame.sequence == 8)                                   \
    status = SLIPSTREAM_RETRY
#include "good.h"
