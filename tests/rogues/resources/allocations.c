/* It does not ask whether it got the memory that it wanted. */
#define ON_LOADED                                                                         \
    uint8_t *volatile bytes = (uint8_t *)malloc(64);                                      \
    bytes[0] = 0;                                                                         \
    free(bytes)
#include "good.h"
