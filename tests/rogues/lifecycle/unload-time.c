/* Its on_unload takes longer than it was given. */
#define IN_ON_UNLOAD                                                                      \
    if (timeout_ms == 1000)                                                               \
    sleep_ms(1500)
#include "good.h"
