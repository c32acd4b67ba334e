/* It takes a fixed part that has grown for a malformed one. */
#define IN_UPDATE                                                                         \
    if (slipstream_load_u32(frame->payload.data) != 40)                                   \
    return SLIPSTREAM_MALFORMED
#include "good.h"
