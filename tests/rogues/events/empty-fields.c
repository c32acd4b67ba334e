/* It takes an empty value for a malformed one. */
#define IN_UPDATE                                                                         \
    if (update.value.len == 0)                                                            \
    return SLIPSTREAM_MALFORMED
#include "good.h"
