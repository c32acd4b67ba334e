/* worker_faults: what a worker notes of a deadly signal, before it dies of it. */
#include "process/worker_faults.h"

#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/mman.h>
#include <ucontext.h>
#include <unistd.h>

enum {
    REGISTERS = 23,
    FAULT_STACK = 64 * 1024,
};

static uint64_t hex_number(const char **p) {
    uint64_t value = 0;
    for (;; (*p)++) {
        const char c = **p;
        if (c >= '0' && c <= '9')
            value = value * 16 + (uint64_t)(c - '0');
        else if (c >= 'a' && c <= 'f')
            value = value * 16 + (uint64_t)(c - 'a' + 10);
        else
            return value;
    }
}

/* One line of /proc/self/maps: is the address in it? Then module and offset are noted. */
static bool note_module(ss_fault *fault, const char *line) {
    const char *p = line;
    const uint64_t start = hex_number(&p);
    if (*p++ != '-')
        return false;
    const uint64_t end = hex_number(&p);
    if (fault->pc < start || fault->pc >= end)
        return false;
    p += 6; /* " r-xp " */
    const uint64_t offset = hex_number(&p);
    while (*p != '\0' && *p != '/' && *p != '[')
        p++;
    fault->module_start = start;
    fault->module_offset = fault->pc - start + offset;
    size_t i = 0;
    for (; p[i] != '\0' && i < sizeof fault->module - 1; i++)
        fault->module[i] = p[i];
    fault->module[i] = '\0';
    return true;
}

/* Only system calls: the process may be in any state. */
static void find_module(ss_fault *fault) {
    static char chunk[4096];
    static char line[512];
    size_t used = 0;
    const int maps = open("/proc/self/maps", O_RDONLY | O_CLOEXEC);
    ssize_t n;
    bool found = false;
    while (!found && maps >= 0 && (n = read(maps, chunk, sizeof chunk)) > 0) {
        for (ssize_t i = 0; i < n && !found; i++) {
            if (chunk[i] != '\n') {
                if (used < sizeof line - 1)
                    line[used++] = chunk[i];
                continue;
            }
            line[used] = '\0';
            used = 0;
            found = note_module(fault, line);
        }
    }
    if (maps >= 0)
        close(maps);
}

static ss_fault *record; /* in the control area, which the host reads */

static void on_fault(int signal, siginfo_t *info, void *context) {
    const ucontext_t *machine = context;
    ss_fault *fault = record;
    if (__atomic_exchange_n(&fault->signal, signal, __ATOMIC_SEQ_CST) == 0) {
        fault->code = info->si_code;
        fault->address = (uint64_t)(uintptr_t)info->si_addr;
#if defined(__x86_64__)
        fault->pc = (uint64_t)machine->uc_mcontext.gregs[REG_RIP];
        fault->sp = (uint64_t)machine->uc_mcontext.gregs[REG_RSP];
        for (int i = 0; i < REGISTERS; i++)
            fault->values[i] = (uint64_t)machine->uc_mcontext.gregs[i];
        fault->registers = REGISTERS;
#elif defined(__aarch64__)
        fault->pc = machine->uc_mcontext.pc;
        fault->sp = machine->uc_mcontext.sp;
        for (int i = 0; i < 31; i++)
            fault->values[i] = machine->uc_mcontext.regs[i];
        fault->registers = 31;
#endif
        find_module(fault);
        fault->written = 1;
    }
    /* SA_RESETHAND has put the default action back: end by the same signal. */
    raise(signal);
}

void ss_use_fault_stack(void *unused) {
    (void)unused;
    /* Pages of its own: sanitizers give the stack of a thread that ends back as such. */
    void *pages =
        mmap(NULL, FAULT_STACK, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    const stack_t stack = {.ss_sp = pages, .ss_size = FAULT_STACK};
    if (pages != MAP_FAILED)
        sigaltstack(&stack, NULL);
}

void ss_catch_faults(ss_fault *fault) {
    static const int deadly[] = {SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGABRT, SIGSYS, SIGTRAP};
    struct sigaction action = {.sa_sigaction = on_fault,
                               .sa_flags = (int)(SA_SIGINFO | SA_ONSTACK | SA_RESETHAND)};
    record = fault;
    sigfillset(&action.sa_mask);
    for (size_t i = 0; i < sizeof deadly / sizeof deadly[0]; i++) {
        sigdelset(&action.sa_mask, deadly[i]);
        sigaction(deadly[i], &action, NULL);
    }
}
