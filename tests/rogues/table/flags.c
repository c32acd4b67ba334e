/* It has a flag that this contract does not know. */
#define FLAGS (SLIPSTREAM_FLAG_PROMPT | SLIPSTREAM_FLAG_MULTI_INSTANCE | UINT32_C(1) << 20)
#define INFO
#include "good.h"
