/* It decides by memory that nobody has written. */
#define ON_LOADED                                                                         \
    uint8_t *volatile bytes = (uint8_t *)malloc(64);                                      \
    if (bytes != NULL && bytes[32] == 77)                                                 \
        slipstream_log(self->host, SLIPSTREAM_LOG_DEBUG, "by chance");                    \
    free(bytes)
#include "good.h"
