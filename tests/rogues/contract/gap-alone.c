/* It takes a reason for a gap that it does not know for a malformed event. */
#define IN_GAP                                                                            \
    if ((gap.reasons & (SLIPSTREAM_GAP_QUARANTINED | SLIPSTREAM_GAP_RELOAD)) != 0)        \
    return SLIPSTREAM_MALFORMED
#include "good.h"
