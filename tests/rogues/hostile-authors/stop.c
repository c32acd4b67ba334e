/* It stops the process, which then answers to nothing.
 * expect: entry.loads timeout
 */
#include "good.h"
__attribute__((constructor)) static void opened(void) { (void)raise(SIGSTOP); }
