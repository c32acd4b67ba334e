/* It writes to the host's table. */
#define IN_CONSTRUCTOR write_same(&host->abi_minor)
#include "good.h"
