/* It has a status of its own for what it cannot read. */
#define IN_FAILURE                                                                        \
    if (status == SLIPSTREAM_MALFORMED)                                                   \
    status = -100
#include "good.h"
