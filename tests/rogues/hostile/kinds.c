/* A kind that is not yet given away ends the process. */
#define IN_OTHER_KIND                                                                     \
    if (frame->kind > SLIPSTREAM_KIND_MARK && frame->kind < SLIPSTREAM_KIND_APP_FIRST)    \
    abort()
#include "good.h"
