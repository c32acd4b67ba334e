/* Its on_unload takes longer than it was given, the first time in a process. */
#define IN_ON_UNLOAD                                                                      \
    if (timeout_ms == 1000 && process_words()[0]++ == 0)                                  \
    sleep_ms(1500)
#include "good.h"
