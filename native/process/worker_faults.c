/* worker_faults: what a worker notes of a deadly signal, before it dies of it. */
#include "process/worker_faults.h"

#include "platform/platform.h"

#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <ucontext.h>
#include <unistd.h>
#include <unwind.h>

enum {
    REGISTERS = 23,
};

static ss_fault *record; /* in the control area, which the host reads */
static pid_t plugin_thread;

/* ---- Where an address lies: only system calls, the process may be in any state ------------ */

static void copy_name(char out[256], const char *name) {
    size_t i = 0;
    for (; name[i] != '\0' && i < 255; i++)
        out[i] = name[i];
    out[i] = '\0';
}

static bool is_name(const char *a, const char *b) {
    size_t i = 0;
    while (a[i] != '\0' && a[i] == b[i])
        i++;
    return a[i] == b[i] || i == 255;
}

/* 1 + its index among the modules of the record; 0: there is no room. */
static uint32_t index_of(ss_fault *fault, const char *name) {
    for (uint32_t i = 0; i < SS_FAULT_MODULES; i++) {
        if (fault->modules[i][0] == '\0')
            copy_name(fault->modules[i], name);
        if (is_name(fault->modules[i], name))
            return i + 1;
    }
    return 0;
}

static void note_pc(const ss_os_map *m, void *context) {
    ss_fault *fault = context;
    if (fault->pc < m->start || fault->pc >= m->end)
        return;
    fault->module_start = m->start;
    fault->module_offset = fault->pc - m->start + m->offset;
    copy_name(fault->module, m->name);
}

static void note_frames(const ss_os_map *m, void *context) {
    ss_fault *fault = context;
    for (uint32_t i = 0; i < fault->frames; i++) {
        if (fault->frame_pc[i] < m->start || fault->frame_pc[i] >= m->end)
            continue;
        fault->frame_offset[i] = fault->frame_pc[i] - m->start + m->offset;
        fault->frame_module[i] = index_of(fault, m->name);
    }
}

/* ---- The calls under way ------------------------------------------------------------------ */

typedef struct walk {
    ss_fault *fault;
    uint64_t start; /* the first address that is not of this handler */
} walk;

static _Unwind_Reason_Code note_frame(struct _Unwind_Context *context, void *argument) {
    const walk *w = argument;
    ss_fault *fault = w->fault;
    int is_exact = 0;
    const uint64_t pc = (uint64_t)_Unwind_GetIPInfo(context, &is_exact);
    if (fault->frames == 0 && pc != w->start)
        return _URC_NO_REASON;
    if (pc == 0 || fault->frames == SS_FAULT_FRAMES)
        return _URC_END_OF_STACK;
    /* Where a call returns to may be the next line already. */
    fault->frame_pc[fault->frames++] = is_exact ? pc : pc - 1;
    return _URC_NO_REASON;
}

static _Unwind_Reason_Code ignore_frame(struct _Unwind_Context *context, void *unused) {
    (void)context, (void)unused;
    return _URC_NO_REASON;
}

/* ---- The signal --------------------------------------------------------------------------- */

static void note_registers(ss_fault *fault, const ucontext_t *machine) {
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
}

/* Where no code is there are no calls to be seen: they are looked for where it was called, as if
 * that were where the signal came. */
static void note_calls(ss_fault *fault, const siginfo_t *info, ucontext_t *machine) {
    walk w = {fault, fault->pc};
    const mcontext_t was = machine->uc_mcontext;
    const uintptr_t caller = ss_os_fault_caller(info, machine);
    if (caller != 0) {
        w.start = caller;
#if defined(__x86_64__)
        machine->uc_mcontext.gregs[REG_RIP] = (greg_t)caller;
        machine->uc_mcontext.gregs[REG_RSP] += (greg_t)sizeof caller;
#elif defined(__aarch64__)
        machine->uc_mcontext.pc = caller;
#endif
    }
    _Unwind_Backtrace(note_frame, &w);
    machine->uc_mcontext = was;
}

static void die_of(int number) {
    sigset_t it;
    signal(number, SIG_DFL);
    sigemptyset(&it);
    sigaddset(&it, number);
    sigprocmask(SIG_UNBLOCK, &it, NULL);
    raise(number);
}

static void on_fault(int number, siginfo_t *info, void *context) {
    ss_fault *fault = record;
    const pid_t thread = (pid_t)syscall(SYS_gettid);
    /* Somebody wants it to abort: the thread of the plugin is the one that has something to say. */
    if (number == SIGABRT && info->si_code == SI_USER && plugin_thread != 0 &&
        thread != plugin_thread && syscall(SYS_tgkill, getpid(), plugin_thread, SIGABRT) == 0)
        return;
    int none = 0;
    if (!__atomic_compare_exchange_n(&fault->signal, &none, number, false, __ATOMIC_SEQ_CST,
                                     __ATOMIC_SEQ_CST)) {
        if (thread != fault->thread) /* the first one has still to write */
            syscall(SYS_ppoll, NULL, 0, NULL, NULL, 0); /* pause, which not every machine has */
        die_of(none); /* we could not find the calls: what is there has to do */
    }
    fault->thread = thread;
    fault->code = info->si_code;
    fault->address = (uint64_t)(uintptr_t)info->si_addr;
    prctl(PR_GET_NAME, fault->thread_name);
    note_registers(fault, context);
    ss_os_walk_maps(note_pc, fault);
    fault->written = 1;
    note_calls(fault, info, context);
    ss_os_walk_maps(note_frames, fault);
    /* End by the same signal, as soon as we return. */
    signal(number, SIG_DFL);
    raise(number);
}

void ss_note_plugin_thread(void *unused) {
    (void)unused;
    plugin_thread = (pid_t)syscall(SYS_gettid);
}

void ss_catch_faults(ss_fault *fault) {
    static const int deadly[] = {SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGABRT, SIGSYS, SIGTRAP};
    struct sigaction action = {.sa_sigaction = on_fault,
                               .sa_flags = (int)(SA_SIGINFO | SA_ONSTACK)};
    record = fault;
    _Unwind_Backtrace(ignore_frame, NULL); /* what it loads at first it shall have */
    sigfillset(&action.sa_mask);
    for (size_t i = 0; i < sizeof deadly / sizeof deadly[0]; i++) {
        sigdelset(&action.sa_mask, deadly[i]);
        sigaction(deadly[i], &action, NULL);
    }
}
