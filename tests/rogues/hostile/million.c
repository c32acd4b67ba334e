/* The process ends after some hundred thousand events. */
#define IN_ON_BROADCAST                                                                   \
    if (++process_words()[0] > 150000)                                                    \
    abort()
#include "good.h"
