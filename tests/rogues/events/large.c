/* It copies every value to the stack. */
#define IN_UPDATE                                                                         \
    uint8_t *copy = (uint8_t *)__builtin_alloca(update.value.len + 1);                    \
    memcpy(copy, update.value.data, update.value.len);                                    \
    look_at_text(copy, update.value.len)
#include "good.h"
