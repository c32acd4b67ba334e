/* A block below the last one ends the process. */
#define STATE uint64_t last;
#define IN_BLOCK                                                                          \
    if (frame->height < self->last)                                                       \
        abort();                                                                          \
    self->last = frame->height
#include "good.h"
