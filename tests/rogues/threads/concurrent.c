/* Its flags promise that calls may overlap; they must not. */
#define WITH_CONCURRENT
#define STATE int inside;
#define IN_ON_BROADCAST                                                                   \
    if (__atomic_exchange_n(&self->inside, 1, __ATOMIC_ACQ_REL) != 0)                     \
        return fail(self, SLIPSTREAM_FAILED, "one at a time");                            \
    sleep_ms(self->blocks + self->updates < 50);                                          \
    __atomic_store_n(&self->inside, 0, __ATOMIC_RELEASE)
#include "good.h"
