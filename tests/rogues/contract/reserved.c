/* It refuses a table in which a reserved word is not 0. */
#define IN_ON_LOAD                                                                        \
    if (reader != NULL && reader->reserved != 0)                                          \
    return fail(self, SLIPSTREAM_UNSUPPORTED, "this word is reserved")
#include "good.h"
