/* It reads a payload's fixed part without asking whether there is so much. */
#define IN_FRAME                                                                          \
    if (status == SLIPSTREAM_OK && frame.kind == SLIPSTREAM_KIND_MAPPING_UPDATE)          \
    look_at_text(frame.payload.data, 40)
#include "good.h"
