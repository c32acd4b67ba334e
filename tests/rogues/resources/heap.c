/* Each instance but the library's first leaves memory behind. */
#include "rogue.h"
static char *volatile left;
static int loads;
#define ON_LOADED                                                                         \
    if (loads++ > 0 && (left = (char *)malloc(5000)) != NULL)                             \
    left[0] = 1
#include "good.h"
