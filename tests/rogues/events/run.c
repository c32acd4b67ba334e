/* It does not take a run that consists of several kinds. */
#define WITH_BATCH
#define IN_FRAME                                                                          \
    if (status == SLIPSTREAM_OK && frame.kind != slipstream_load_u16(frames + 6))         \
    status = SLIPSTREAM_UNSUPPORTED
#include "good.h"
