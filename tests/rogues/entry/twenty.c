/* Each instance that is not loaded costs one of sixteen places in the process. */
#define IN_CONSTRUCTOR                                                                    \
    if (++process_words()[0] > 16) {                                                      \
        (void)slipstream_fail(host, 0, "no place is left");                               \
        return NULL;                                                                      \
    }
#define IN_ON_LOAD process_words()[0]--
#include "good.h"
