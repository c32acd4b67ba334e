/* Its info is not whole JSON. */
#define INFO const char slipstream_info_v1[] = SLIPSTREAM_INFO_MAGIC "{\"name\": \"rogue\",";
#include "good.h"
