/* It fails and does not say why. */
#define IN_FAILURE return status
#include "good.h"
