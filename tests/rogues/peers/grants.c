/* It sends messages, and its info does not ask for the grant. */
#include "rogue.h"
#define IN_BLOCK (void)send_text(self->host, SLIPSTREAM_PEER_DIRECT, "a block", 7)
#include "good.h"
