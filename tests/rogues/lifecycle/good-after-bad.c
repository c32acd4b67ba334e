/* Once it has refused a config it refuses every other one. */
#include "rogue.h"
static int refused;
#define IN_REFUSED_CONFIG refused = 1
#define ON_LOADED                                                                         \
    if (refused)                                                                          \
    return fail(self, SLIPSTREAM_INVALID_CONFIG, "the config is wrong, as it was before")
#include "good.h"
