/* It does not ask whether it got the memory that it wanted. */
#define ON_LOADED                                                                         \
    volatile uint8_t *bytes = (volatile uint8_t *)malloc(64);                             \
    bytes[0] = 0;                                                                         \
    free((void *)(uintptr_t)bytes)
#include "good.h"
