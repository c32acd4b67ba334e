/* It looks for a NUL behind its config. */
#define IN_ON_LOAD                                                                        \
    if (len > 1)                                                                          \
    look_at((uint8_t)config[len])
#include "good.h"
