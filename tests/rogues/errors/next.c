/* After an event that it could not read it reads none any more. */
#define STATE int stuck;
#define IN_FRAME                                                                          \
    if (self->stuck)                                                                      \
    status = SLIPSTREAM_WRONG_STATE
#define IN_FAILURE self->stuck |= status == SLIPSTREAM_MALFORMED
#include "good.h"
