/* It logs at a level that there is not. */
#define ON_LOADED slipstream_log(self->host, 42, "very important")
#include "good.h"
