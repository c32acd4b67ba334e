/* It says that it has to be complete, and takes a gap all the same.
 * quirk: complete
 */
#include "good.h"
