/* It writes to the frames. */
#define IN_ON_BROADCAST write_same(frames)
#include "good.h"
