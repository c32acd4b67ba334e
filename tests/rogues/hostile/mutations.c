/* An encoding that it does not know ends the process. */
#define IN_UPDATE                                                                         \
    if (update.encoding > 0xFFFF)                                                         \
    abort()
#include "good.h"
