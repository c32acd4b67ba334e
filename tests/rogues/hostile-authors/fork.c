/* It forks as soon as it is opened, and both processes go on.
 * expect: entry.quiet-load fail
 */
#include "good.h"
__attribute__((constructor)) static void opened(void) { (void)fork(); }
