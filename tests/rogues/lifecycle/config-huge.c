/* It has a buffer for its config that is large enough for most. */
#define IN_ON_LOAD                                                                        \
    static char buffer[65536];                                                            \
    if (len > sizeof buffer)                                                              \
        abort();                                                                          \
    if (len != 0)                                                                         \
    memcpy(buffer, config, len)
#include "good.h"
