/* It keeps a pointer to its config, and reads it when it is unloaded. */
#define STATE const char *config;
#define ON_LOADED self->config = len > 1 && len < 1000 ? config : NULL
#define IN_ON_UNLOAD                                                                      \
    if (self->config != NULL)                                                             \
    look_at((uint8_t)self->config[0])
#include "good.h"
