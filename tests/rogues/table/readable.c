/* Its constructor returns an address at which nothing is. */
#define IN_CONSTRUCTOR return (const slipstream_plugin *)(uintptr_t)16
#include "good.h"
