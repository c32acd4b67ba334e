/* Ordinals that jump end the process. */
#define STATE uint64_t last;
#define IN_ON_BROADCAST                                                                   \
    if (self->last != 0 && delivery->first_ordinal > self->last + 10)                     \
        abort();                                                                          \
    self->last = delivery->first_ordinal
#include "good.h"
