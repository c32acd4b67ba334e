/* It needs a library by the place where that was when it was linked.
 * stub: libelsewhere.so
 * build: -Wl,--no-as-needed FOLDER/libelsewhere.so
 */
#include "good.h"
