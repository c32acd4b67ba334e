/* Its relocated data stay writable.
 * build: -Wl,-z,norelro
 */
#include "good.h"
