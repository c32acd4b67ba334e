/* A kind of the host's application ends the process. */
#define IN_OTHER_KIND                                                                     \
    if (frame->kind == 40)                                                                \
    abort()
#include "good.h"
