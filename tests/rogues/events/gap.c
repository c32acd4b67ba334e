/* A gap that it can do nothing about is a failure to it. */
#define IN_GAP                                                                            \
    if (gap.reasons == SLIPSTREAM_GAP_DROPPED_NEWEST)                                     \
    return SLIPSTREAM_FAILED
#include "good.h"
