/* It takes for granted that a config has two braces. */
#define IN_ON_LOAD                                                                        \
    if (len == 1)                                                                         \
    abort()
#include "good.h"
