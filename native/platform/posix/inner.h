/* inner: what the systems that have POSIX give to what they share. */
#ifndef SS_PLATFORM_POSIX_INNER_H
#define SS_PLATFORM_POSIX_INNER_H

#include "platform/platform.h"

/* Where a signal has found its thread, by the context that its handler got; 0: not known. */
uintptr_t ss_os_fault_pc(const void *context);
/* What the thread goes on with if it returns from the function in whose first instruction it is; 0:
 * not known. */
uintptr_t ss_os_fault_return(const void *context);

#endif
