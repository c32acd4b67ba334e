/* It is linked as not to be unmapped, and does not say so in its flags.
 * build: -Wl,-z,nodelete
 */
#include "good.h"
