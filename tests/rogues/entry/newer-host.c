/* It wants the host's table to be exactly as large as the one that it knows. */
#define IN_CONSTRUCTOR                                                                    \
    if (host->struct_size != sizeof *host) {                                              \
        (void)slipstream_fail(host, 0, "this is not the host that I know");               \
        return NULL;                                                                      \
    }
#include "good.h"
