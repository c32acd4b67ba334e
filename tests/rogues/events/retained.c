/* It keeps a pointer to the frames, and reads them in the next call. */
#define STATE const uint8_t *last;
#define LOOK_BACK                                                                         \
    if (self->last != NULL)                                                               \
    look_at(self->last[0])
#define IN_ON_BROADCAST                                                                   \
    LOOK_BACK;                                                                            \
    self->last = frames
#define IN_FLUSH LOOK_BACK
#define IN_ON_UNLOAD LOOK_BACK
#include "good.h"
