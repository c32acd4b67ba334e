/* Its destroy wants on_unload to have been called. */
#define STATE int loaded;
#define ON_LOADED self->loaded = 1
#define IN_ON_UNLOAD self->loaded = 0
#define IN_DESTROY                                                                        \
    if (self->loaded)                                                                     \
    abort()
#include "good.h"
