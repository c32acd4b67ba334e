/* It goes on with an event until the host no longer wants it to stop. */
#define IN_ON_BROADCAST                                                                   \
    while (slipstream_is_stopping(self->host))                                            \
    sleep_ms(1)
#include "good.h"
