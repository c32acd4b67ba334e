/* It takes memory until there is no more, and then aborts.
 * expect: entry.constructor crash
 */
#include "rogue.h"
static void take_all(void) {
    const size_t size = 1 << 20;
    char *more;
    while ((more = (char *)malloc(size)) != NULL)
        for (size_t at = 0; at < size; at += 4096)
            ((volatile char *)more)[at] = 1;
    abort();
}
#define IN_CONSTRUCTOR take_all()
#include "good.h"
