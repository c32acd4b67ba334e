/* Its constructor is hidden. */
#define SLIPSTREAM_EXPORT
#include "good.h"
