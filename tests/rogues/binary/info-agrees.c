/* Its info tells of a version that its table does not. */
#define INFO                                                                              \
    SLIPSTREAM_INFO({"name": "rogue", "version": "2.0.0", "abi": 1,                       \
                     "kinds": ["BLOCK", "MAPPING_UPDATE"],                                \
                     "flags": ["PROMPT", "MULTI_INSTANCE"]});
#include "good.h"
