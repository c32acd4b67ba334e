/* It looks for libraries in a folder of the machine that it was built on.
 * build: -Wl,-rpath,/srv/builder/lib
 */
#include "good.h"
