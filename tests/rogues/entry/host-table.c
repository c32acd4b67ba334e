/* It reads behind the end of the host's table. */
#define IN_CONSTRUCTOR look_at(((const uint8_t *)host)[host->struct_size])
#include "good.h"
