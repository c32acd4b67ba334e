/* The more events it has had the slower it is. */
#define IN_ON_BROADCAST                                                                   \
    if (self->blocks + self->updates > 20000)                                             \
    sleep_ms(10)
#include "good.h"
