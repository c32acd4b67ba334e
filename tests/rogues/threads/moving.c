/* It wants its events on the thread that loaded it. */
#define STATE pthread_t loader;
#define IN_ON_LOAD self->loader = pthread_self()
#define IN_ON_BROADCAST                                                                   \
    if (!pthread_equal(self->loader, pthread_self()))                                     \
    return fail(self, SLIPSTREAM_WRONG_STATE, "this is not my thread")
#include "good.h"
