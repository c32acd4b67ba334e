/* Each instance but the library's first leaves a mapping behind. */
#include "rogue.h"
static int loads;
#define ON_LOADED                                                                         \
    if (loads++ > 0)                                                                      \
    (void)mmap(NULL, 4096, PROT_READ, MAP_SHARED | MAP_ANONYMOUS, -1, 0)
#include "good.h"
