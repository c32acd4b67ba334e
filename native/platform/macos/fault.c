/* fault: where a signal has found its thread. */
#include "platform/posix/inner.h"

#include <mach/mach.h>
#include <sys/ucontext.h>

uintptr_t ss_os_fault_pc(const void *context) {
    const ucontext_t *machine = context;
#if defined(__x86_64__)
    return (uintptr_t)machine->uc_mcontext->__ss.__rip;
#else
    return (uintptr_t)arm_thread_state64_get_pc(machine->uc_mcontext->__ss);
#endif
}
