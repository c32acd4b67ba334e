/* It reads every value as a number of sixteen bytes, also a shorter one. */
#define IN_UPDATE                                                                         \
    if (update.value.len > 0)                                                             \
    look_at_text(update.value.data, 16)
#include "good.h"
