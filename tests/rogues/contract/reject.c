/* It rejects an event that is not in the run. */
#define WITH_BATCH
#include "rogue.h"
static void reject(const rogue *self, uint64_t ordinal) {
    const slipstream_settle_v1 *settle =
        (const slipstream_settle_v1 *)slipstream_extension(self->host, SLIPSTREAM_EXT_SETTLE);
    if (settle != NULL)
        (void)settle->reject(self->host->ctx, ordinal, SLIPSTREAM_FAILED, "in advance", 10);
}
#define IN_ON_BROADCAST reject(self, delivery->first_ordinal + delivery->count)
#include "good.h"
