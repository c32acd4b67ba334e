/* A function that is called when the process exits is not there any more. */
#include "rogue.h"
static int registered;
static void at_end(int status, void *of) {
    (void)status;
    (void)of;
}
#define ON_LOADED                                                                         \
    if (registered++ == 0)                                                                \
    (void)on_exit(at_end, NULL)
#include "good.h"
