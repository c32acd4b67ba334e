/* It says hello to a peer while it is being loaded. */
#define INFO_GRANTS "send"
#include "rogue.h"
#define ON_LOADED (void)send_text(self->host, SLIPSTREAM_PEER_DIRECT, "hello", 5)
#include "good.h"
