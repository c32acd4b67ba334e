/* Where it should not wait it waits. */
#define IN_ON_UNLOAD                                                                      \
    if (timeout_ms == 0)                                                                  \
    sleep_ms(1500)
#include "good.h"
