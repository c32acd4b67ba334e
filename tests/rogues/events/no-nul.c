/* It takes a name that begins with a letter for a text that ends with a NUL. */
#define IN_UPDATE                                                                         \
    const uint8_t *name = update.program_id.data;                                         \
    if (update.program_id.len > 0 && name[0] >= 'a')                                      \
        while (*name != 0)                                                                \
    name++
#include "good.h"
