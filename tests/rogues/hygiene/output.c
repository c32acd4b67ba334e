/* It writes to standard output. */
#define ON_LOADED                                                                         \
    if (write(STDOUT_FILENO, "rogue is loaded\n", 16) != 16)                              \
    return fail(self, SLIPSTREAM_IO, "cannot write")
#include "good.h"
