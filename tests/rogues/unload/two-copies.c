/* Only one copy of its file can be loaded in a process. */
#include "rogue.h"
static int here;
#define OWNER process_words()[0]
#define ON_LOADED                                                                         \
    if (OWNER != 0 && OWNER != (uintptr_t)&here)                                          \
        return fail(self, SLIPSTREAM_FAILED, "another copy is loaded");                   \
    OWNER = (uintptr_t)&here
#define IN_ON_UNLOAD OWNER = 0
#include "good.h"
