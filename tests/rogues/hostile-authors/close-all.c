/* It closes every descriptor, also those over which a verdict would go.
 * expect: entry.constructor crash
 */
#include "rogue.h"
static void close_all(void) {
    for (int fd = 0; fd < 4096; fd++)
        (void)close(fd);
}
#define IN_CONSTRUCTOR close_all()
#include "good.h"
