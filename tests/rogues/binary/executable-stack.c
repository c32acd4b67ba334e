/* It wants the process's stack to be executable.
 * build: -Wl,-z,execstack
 */
#include "good.h"
