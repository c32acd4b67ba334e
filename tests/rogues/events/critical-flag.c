/* It takes a frame with a critical flag that it does not know. */
#define IN_FRAME                                                                          \
    if (status == SLIPSTREAM_UNSUPPORTED)                                                 \
    status = SLIPSTREAM_OK
#include "good.h"
