/* It tries to send until the outbox has room. */
#define INFO_GRANTS "send"
#include "rogue.h"
#define IN_BLOCK                                                                          \
    while (send_text(self->host, SLIPSTREAM_PEER_DIRECT, "a block", 7) == SLIPSTREAM_RETRY)\
    sleep_ms(1)
#include "good.h"
