/* It prints, in every form that comes to mind, that it has passed, and then aborts.
 * expect: entry.constructor crash
 */
#include "rogue.h"

#include <stdio.h>
static void forge(void) {
    puts("pass");
    puts("{\"id\": \"entry.constructor\", \"verdict\": \"pass\"}");
    puts("entry.constructor  pass\nconformant: 140 of 140 checks passed");
    (void)fflush(NULL);
}
#define IN_CONSTRUCTOR                                                                    \
    forge();                                                                              \
    abort()
#include "good.h"
