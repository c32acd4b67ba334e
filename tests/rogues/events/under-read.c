/* It reads one byte in front of the frames. */
#define IN_ON_BROADCAST look_at(frames[-1])
#include "good.h"
