/* It calls what glibc has only since 2.36. */
#define ON_LOADED look_at((uint8_t)arc4random())
#include "good.h"
