/* When it is closed, after destroy, it still has a look at the host. */
#include "rogue.h"
static const slipstream_host *last;
#define IN_DESTROY last = self->host
#include "good.h"
__attribute__((destructor)) static void closed(void) {
    if (last != NULL)
        (void)last->log_enabled(last->ctx, SLIPSTREAM_LOG_DEBUG);
}
