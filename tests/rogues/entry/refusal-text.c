/* It refuses a host that has no slipstream.config/1, and does not say why. */
#define IN_CONSTRUCTOR                                                                    \
    if (slipstream_extension(host, SLIPSTREAM_EXT_CONFIG) == NULL)                        \
        return NULL
#include "good.h"
