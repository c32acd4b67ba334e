/* It takes for granted that every host has slipstream.config/1. */
#define IN_ON_LOAD look_at((uint8_t)reader->struct_size)
#include "good.h"
