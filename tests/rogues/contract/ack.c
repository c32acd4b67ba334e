/* It acknowledges the event that comes next. */
#define WITH_EXPLICIT_ACK
#define IN_ON_BROADCAST (void)slipstream_ack(self->host, delivery->first_ordinal + delivery->count)
#include "good.h"
