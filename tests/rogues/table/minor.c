/* It needs a newer host than the header that it was compiled with tells of. */
#define MIN_HOST_MINOR 7
#define INFO
#include "good.h"
