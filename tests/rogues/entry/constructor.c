/* Its constructor aborts. */
#define IN_CONSTRUCTOR abort()
#include "good.h"
