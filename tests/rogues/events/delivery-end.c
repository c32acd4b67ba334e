/* It reads behind the end of the delivery. */
#define IN_ON_BROADCAST look_at(((const uint8_t *)delivery)[delivery->struct_size])
#include "good.h"
