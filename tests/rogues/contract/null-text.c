/* It takes for granted that a text is somewhere, even if it has no byte. */
#define IN_ON_LOAD                                                                        \
    if (config == NULL)                                                                   \
    abort()
#include "good.h"
