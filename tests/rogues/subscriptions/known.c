/* It subscribes to a kind that is never delivered. */
#define KINDS                                                                             \
    (SLIPSTREAM_KIND_BIT(SLIPSTREAM_KIND_BLOCK) |                                         \
     SLIPSTREAM_KIND_BIT(SLIPSTREAM_KIND_MAPPING_UPDATE) |                                \
     SLIPSTREAM_KIND_BIT(SLIPSTREAM_KIND_MARK))
#define INFO
#include "good.h"
