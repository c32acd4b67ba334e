/* It never lets the loader return.
 * expect: entry.loads timeout
 */
#include "good.h"
__attribute__((constructor)) static void opened(void) {
    for (;;)
        (void)pause();
}
