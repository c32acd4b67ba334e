/* It wants an event again until it may send. */
#define INFO_GRANTS "send"
#include "rogue.h"
#define IN_BLOCK                                                                          \
    if (send_text(self->host, SLIPSTREAM_PEER_DIRECT, "a block", 7) == SLIPSTREAM_DENIED) \
    return SLIPSTREAM_RETRY
#include "good.h"
