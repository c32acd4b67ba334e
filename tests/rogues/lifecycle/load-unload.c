/* Its on_unload fails. */
#define IN_ON_UNLOAD return fail(self, SLIPSTREAM_IO, "cannot be stopped")
#include "good.h"
