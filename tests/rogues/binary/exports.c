/* It exports a function that is its own business. */
#include "good.h"
SLIPSTREAM_EXPORT int rogue_helper(void);
int rogue_helper(void) { return 1; }
