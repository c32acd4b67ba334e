/* It reads every value as a number of eight bytes, also a shorter one. */
#define IN_UPDATE                                                                         \
    if (update.value.len > 0)                                                             \
    look_at_text(update.value.data, 8)
#include "good.h"
