/* It writes to its config. */
#define IN_ON_LOAD                                                                        \
    if (len > 1)                                                                          \
    write_same(config)
#include "good.h"
