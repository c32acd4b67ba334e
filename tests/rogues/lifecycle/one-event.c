/* It cannot be unloaded after exactly one event of each kind. */
#define IN_ON_UNLOAD                                                                      \
    if (self->blocks == 1 && self->updates == 1)                                          \
    return fail(self, SLIPSTREAM_OUT_OF_RANGE, "one event makes no average")
#include "good.h"
