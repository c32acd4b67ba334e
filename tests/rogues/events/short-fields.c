/* It reads a short key as two words of eight bytes. */
#define IN_UPDATE                                                                         \
    if (update.key.len > 0 && update.key.len < 8)                                         \
    look_at_text(update.key.data, 16)
#include "good.h"
