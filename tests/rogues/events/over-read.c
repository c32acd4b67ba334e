/* It reads one byte behind the frames. */
#define IN_ON_BROADCAST look_at(frames[len])
#include "good.h"
