/* Its destroy wants on_unload to have been called, also after a PANIC. */
#define STATE int loaded;
#define ON_LOADED self->loaded = 1
#define IN_ON_UNLOAD self->loaded = 0
#define IN_DESTROY                                                                        \
    if (self->loaded)                                                                     \
    abort()
#define IN_ON_BROADCAST                                                                   \
    if (delivery->count == UINT32_MAX)                                                    \
    return SLIPSTREAM_PANIC
#include "good.h"
