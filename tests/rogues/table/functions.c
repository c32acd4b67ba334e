/* It subscribes, and has no on_broadcast. */
#define TABLE_ON_BROADCAST NULL
#include "good.h"
