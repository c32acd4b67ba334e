/* A byte of its config that is not ASCII ends the process. */
#define IN_ON_LOAD                                                                        \
    for (size_t i = 0; i < len; i++)                                                      \
        if ((uint8_t)config[i] > 0x7F)                                                    \
            abort()
#include "good.h"
