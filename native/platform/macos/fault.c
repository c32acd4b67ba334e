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

uintptr_t ss_os_fault_return(const void *context) {
    const ucontext_t *machine = context;
#if defined(__x86_64__)
    uintptr_t back;
    const void *top = (const void *)machine->uc_mcontext->__ss.__rsp;
    return ss_os_read_memory(top, &back, sizeof back) ? back : 0;
#else
    return (uintptr_t)arm_thread_state64_get_lr(machine->uc_mcontext->__ss);
#endif
}
