/* An instance that was never loaded leaves a mark, and so there is no second one. */
#define STATE int was_loaded;
#include "rogue.h"
static int spoilt;
#define IN_CONSTRUCTOR                                                                    \
    if (spoilt) {                                                                         \
        (void)slipstream_fail(host, 0, "there was one already");                          \
        return NULL;                                                                      \
    }
#define IN_ON_LOAD self->was_loaded = 1
#define IN_DESTROY spoilt = !self->was_loaded
#include "good.h"
