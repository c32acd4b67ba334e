/* It brings its own realloc, which other libraries may come to call. */
#include "good.h"
SLIPSTREAM_EXPORT void *realloc(void *old, size_t size) {
    return old == NULL ? malloc(size) : NULL;
}
