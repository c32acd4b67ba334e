/* Every second instance has another version. */
#include "rogue.h"
static int made;
#define CONSTRUCTED                                                                       \
    if (made++ % 2 == 1)                                                                  \
        self->table.version = "1.0.1"
#include "good.h"
