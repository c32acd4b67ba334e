/* After a run that it refused it takes nothing any more. */
#define WITH_BATCH
#define STATE int stuck;
#define IN_FRAME                                                                          \
    if (self->stuck)                                                                      \
    status = SLIPSTREAM_WRONG_STATE
#define IN_FAILURE self->stuck = delivery->count > 1
#include "good.h"
