/* It ends the process, as if all were well, as soon as it is opened.
 * expect: entry.loads crash
 */
#include "good.h"
__attribute__((constructor)) static void opened(void) { exit(0); }
