/* It looks at the first byte of a name without asking whether there is one. */
#define IN_UPDATE look_at(update.program_id.data[0])
#include "good.h"
