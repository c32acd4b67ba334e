/* It needs 400 KiB of the stack. */
#define IN_ON_BROADCAST                                                                   \
    volatile uint8_t buffer[400 << 10];                                                   \
    for (size_t i = sizeof buffer; i > 0; i -= 1024)                                      \
    buffer[i - 1] = 0
#include "good.h"
