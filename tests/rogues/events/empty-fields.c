/* It takes for granted that a value has a last byte. */
#define IN_UPDATE                                                                         \
    for (size_t i = 0; i != update.value.len - 1; i++)                                    \
    look_at(update.value.data[i])
#include "good.h"
