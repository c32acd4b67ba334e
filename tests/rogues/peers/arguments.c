/* It sends in a third way, which there is not. */
#define INFO_GRANTS "send"
#include "rogue.h"
#define IN_BLOCK (void)send_text(self->host, 3, "a block", 7)
#include "good.h"
