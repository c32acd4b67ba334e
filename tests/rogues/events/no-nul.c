/* It looks for a NUL behind a name. */
#define IN_UPDATE                                                                         \
    if (update.program_id.len >= 8)                                                       \
    look_at(update.program_id.data[update.program_id.len])
#include "good.h"
