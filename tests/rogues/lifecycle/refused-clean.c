/* When it refuses its config it leaves a descriptor open. */
#define IN_REFUSED_CONFIG (void)open("/dev/null", O_RDONLY | O_CLOEXEC)
#include "good.h"
