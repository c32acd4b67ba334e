/* It was only compiled: an object file is not yet a shared library.
 * build: -c
 */
#include "good.h"
