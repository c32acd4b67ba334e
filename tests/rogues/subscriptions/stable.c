/* Asked a second time, it subscribes to less. */
#define STATE int asked;
#define IN_SUBSCRIBED_EVENTS                                                              \
    if (self->asked++ != 0)                                                               \
    return SLIPSTREAM_KIND_BIT(SLIPSTREAM_KIND_BLOCK)
#include "good.h"
