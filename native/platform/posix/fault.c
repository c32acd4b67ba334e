/* fault: signals that end the process. What runs in their handlers makes only system calls: the
 * process may be in any state. */
#include "platform/posix/inner.h"

#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/uio.h>
#include <unistd.h>

enum {
    STACK = 64 * 1024,
    TELL_MS = 2000, /* for the one thread to tell, until another's fault ends the process */
};

static const int deadly[] = {SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGABRT, SIGSYS, SIGTRAP};

static void (*tell)(int number, uintptr_t pc, uintptr_t caller);
static struct sigaction earlier[sizeof deadly / sizeof deadly[0]];
static _Atomic(uintptr_t) teller; /* the thread whose fault is being told of */
static _Atomic uint32_t is_told;

uintptr_t ss_os_fault_caller(const void *info, const void *context) {
    const siginfo_t *signal = info;
    const uintptr_t pc = ss_os_fault_pc(context);
    const bool is_reading = signal->si_signo == SIGSEGV || signal->si_signo == SIGBUS;
    if (!is_reading || (uintptr_t)signal->si_addr != pc)
        return 0;
    const uintptr_t back = ss_os_fault_return(context);
    return ss_os_is_behind_call(back) ? back - 1 : 0; /* in the call */
}

static void on_fault(int number, siginfo_t *info, void *context) {
    uintptr_t nobody = 0;
    if (atomic_compare_exchange_strong(&teller, &nobody, ss_os_self())) {
        tell(number, ss_os_fault_pc(context), ss_os_fault_caller(info, context));
        atomic_store(&is_told, 1);
    }
    for (uint32_t ms = 0; ms < TELL_MS && nobody != 0 && nobody != ss_os_self() &&
                          atomic_load(&is_told) == 0; ms++)
        ss_os_sleep_ns(1000000);
    /* Whoever wanted it before us gets it now: when what has failed is tried again, or, where
     * somebody has sent it, because we do. */
    for (size_t i = 0; i < sizeof deadly / sizeof deadly[0]; i++)
        if (deadly[i] == number)
            sigaction(number, &earlier[i], NULL);
    if (info->si_code <= 0)
        raise(number);
}

/* Pages of its own: sanitizers give the stack of a thread that ends back as such. */
void *ss_os_use_fault_stack(void) {
    stack_t stack;
    if (sigaltstack(NULL, &stack) != 0 || (stack.ss_flags & SS_DISABLE) == 0)
        return NULL;
    void *pages = mmap(NULL, STACK, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANON, -1, 0);
    if (pages == MAP_FAILED)
        return NULL;
    stack = (stack_t){.ss_sp = pages, .ss_size = STACK};
    sigaltstack(&stack, NULL);
    return pages;
}

void ss_os_leave_fault_stack(void *pages) {
    const stack_t none = {.ss_flags = SS_DISABLE};
    stack_t now;
    if (pages == NULL || sigaltstack(NULL, &now) != 0 || now.ss_sp != pages)
        return; /* somebody has another one now, and may come back to ours */
    sigaltstack(&none, NULL);
    munmap(pages, STACK);
}

void ss_os_tell_faults(void (*told)(int number, uintptr_t pc, uintptr_t caller)) {
    struct sigaction action = {.sa_sigaction = on_fault,
                               .sa_flags = (int)(SA_SIGINFO | SA_ONSTACK)};
    if (tell != NULL)
        return;
    tell = told;
    ss_os_use_fault_stack();
    sigemptyset(&action.sa_mask);
    for (size_t i = 0; i < sizeof deadly / sizeof deadly[0]; i++)
        sigaction(deadly[i], &action, &earlier[i]);
}

void ss_os_write_error(const char *before, const char *text, size_t len) {
    struct iovec parts[] = {{(void *)(uintptr_t)before, strlen(before)},
                            {(void *)(uintptr_t)text, len},
                            {(void *)(uintptr_t) "\n", 1}};
    struct iovec *left = parts;
    struct iovec *const end = parts + 3;
    while (left < end) {
        ssize_t n = writev(STDERR_FILENO, left, (int)(end - left));
        if (n <= 0)
            return;
        for (; left < end && (size_t)n >= left->iov_len; left++)
            n -= (ssize_t)left->iov_len;
        if (left < end) {
            left->iov_base = (char *)left->iov_base + n;
            left->iov_len -= (size_t)n;
        }
    }
}
