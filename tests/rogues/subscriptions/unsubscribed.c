/* An event of a kind that it did not subscribe to is a failure to it. */
#define IN_OTHER_KIND                                                                     \
    if (frame->kind <= SLIPSTREAM_KIND_PEER_FORGOTTEN)                                    \
    return SLIPSTREAM_UNSUPPORTED
#include "good.h"
