/* The first event ends the process. */
#define IN_UPDATE abort()
#define IN_BLOCK abort()
#include "good.h"
