/* With its second instance it subscribes to less. */
#define IN_SUBSCRIBED_EVENTS                                                              \
    static int asked;                                                                     \
    if (asked++ != 0)                                                                     \
    return SLIPSTREAM_KIND_BIT(SLIPSTREAM_KIND_BLOCK)
#include "good.h"
