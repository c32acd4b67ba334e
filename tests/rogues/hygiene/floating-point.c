/* It lets all numbers be rounded up from now on.
 * build: -lm
 */
#include "rogue.h"

#include <fenv.h>
#define IN_ON_BROADCAST (void)fesetround(FE_UPWARD)
#include "good.h"
