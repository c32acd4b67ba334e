/* A process that exits without unloading it is aborted. */
#include "rogue.h"
static int loaded;
#define ON_LOADED loaded = 1
#define IN_ON_UNLOAD loaded = 0
#define IN_DESTROY loaded = 0
#include "good.h"
__attribute__((destructor)) static void closed(void) {
    if (loaded)
        abort();
}
