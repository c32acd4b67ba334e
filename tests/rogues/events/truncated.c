/* It trusts the length that a frame says it has, and not that of the call. */
#define IN_ON_BROADCAST                                                                   \
    if (len >= SLIPSTREAM_FRAME_HEADER_LEN)                                               \
    len = slipstream_load_u32(frames)
#include "good.h"
