/* It takes a header that has grown for a malformed one. */
#define IN_FRAME                                                                          \
    if (status == SLIPSTREAM_OK && frame.payload.data != frame.whole.data + 48)           \
    status = SLIPSTREAM_MALFORMED
#include "good.h"
