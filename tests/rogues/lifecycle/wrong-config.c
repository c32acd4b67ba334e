/* A list where it wants a number ends the process. */
#define IN_ON_LOAD                                                                        \
    uint32_t type = SLIPSTREAM_JSON_NULL;                                                 \
    size_t count;                                                                         \
    if (reader != NULL &&                                                                 \
        reader->type_at(self->host->ctx, "/every", &type, &count) == SLIPSTREAM_OK &&     \
        type == SLIPSTREAM_JSON_ARRAY)                                                    \
    abort()
#include "good.h"
