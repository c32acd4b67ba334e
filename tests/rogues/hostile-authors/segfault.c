/* It follows a wrong pointer as soon as it is opened.
 * expect: entry.loads crash
 */
#include "good.h"
__attribute__((constructor)) static void opened(void) { *(volatile int *)(uintptr_t)16 = 1; }
