/* Its constructor takes its time, the first few times in a process. */
#define IN_CONSTRUCTOR                                                                    \
    if (process_words()[0]++ < 8)                                                         \
        sleep_ms(150)
#include "good.h"
