/* It subscribes to a kind of which it takes no event. */
#define KINDS                                                                             \
    (SLIPSTREAM_KIND_BIT(SLIPSTREAM_KIND_BLOCK) |                                         \
     SLIPSTREAM_KIND_BIT(SLIPSTREAM_KIND_MAPPING_UPDATE) |                                \
     SLIPSTREAM_KIND_BIT(SLIPSTREAM_KIND_STAKING_REWARD))
#define INFO_KINDS "BLOCK", "MAPPING_UPDATE", "STAKING_REWARD"
#define IN_OTHER_KIND                                                                     \
    if (frame->kind == SLIPSTREAM_KIND_STAKING_REWARD)                                    \
    return SLIPSTREAM_UNSUPPORTED
#include "good.h"
