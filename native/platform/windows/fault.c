/* fault: exceptions that end the process, told as the signals that they are elsewhere. What runs
 * then makes only system calls: the process may be in any state. */
#include "platform/windows/inner.h"

#include <signal.h>
#include <string.h>

enum {
    STACK = 64 * 1024,
    TELL_MS = 2000, /* for the one thread to tell, until another's fault ends the process */
};

/* ---- The process's libraries ------------------------------------------------------------- */

void ss_os_walk_maps(void (*visit)(const ss_os_map *, void *), void *context) {
    wchar_t wide[MAX_PATH];
    char name[3 * MAX_PATH];
    uintptr_t at = 0;
    MEMORY_BASIC_INFORMATION info;
    while (VirtualQuery((const void *)at, &info, sizeof info) != 0) {
        const uintptr_t end = (uintptr_t)info.BaseAddress + info.RegionSize;
        if (end <= at)
            return;
        at = end;
        if (info.State != MEM_COMMIT || info.Type != MEM_IMAGE)
            continue;
        const uintptr_t start = (uintptr_t)info.BaseAddress;
        name[0] = '\0';
        if (GetModuleFileNameW(info.AllocationBase, wide, MAX_PATH) != 0)
            ss_windows_text(wide, name, sizeof name);
        const ss_os_map map = {start, end, start - (uintptr_t)info.AllocationBase, name};
        visit(&map, context);
    }
}

/* ---- Exceptions -------------------------------------------------------------------------- */

static void (*tell)(int number, uintptr_t pc, uintptr_t caller);
static LPTOP_LEVEL_EXCEPTION_FILTER earlier;
static void (*earlier_abort)(int);
static _Atomic(uintptr_t) teller; /* the thread whose fault is being told of */
static _Atomic uint32_t is_told;

static int number_of(DWORD code) {
    switch (code) {
    case EXCEPTION_ILLEGAL_INSTRUCTION:
    case EXCEPTION_PRIV_INSTRUCTION:
        return SIGILL;
    case EXCEPTION_INT_DIVIDE_BY_ZERO:
    case EXCEPTION_INT_OVERFLOW:
    case EXCEPTION_FLT_DIVIDE_BY_ZERO:
    case EXCEPTION_FLT_INVALID_OPERATION:
    case EXCEPTION_FLT_OVERFLOW:
    case EXCEPTION_FLT_UNDERFLOW:
        return SIGFPE;
    case EXCEPTION_ACCESS_VIOLATION:
    case EXCEPTION_STACK_OVERFLOW:
    case EXCEPTION_IN_PAGE_ERROR:
    case EXCEPTION_DATATYPE_MISALIGNMENT:
    case EXCEPTION_GUARD_PAGE:
        return SIGSEGV;
    default:
        return SIGABRT; /* a C++ exception, or one of somebody's own */
    }
}

static void tell_once(int number, uintptr_t pc, uintptr_t caller) {
    uintptr_t nobody = 0;
    if (atomic_compare_exchange_strong(&teller, &nobody, ss_os_self())) {
        tell(number, pc, caller);
        atomic_store(&is_told, 1);
    }
    for (uint32_t ms = 0; ms < TELL_MS && nobody != 0 && nobody != ss_os_self() &&
                          atomic_load(&is_told) == 0; ms++)
        Sleep(1);
}

/* See ss_os_tell_faults. What cannot be read is where the instruction should be. */
static uintptr_t caller_of(const EXCEPTION_POINTERS *what) {
    const EXCEPTION_RECORD *record = what->ExceptionRecord;
    uintptr_t back = 0;
    if (record->ExceptionCode != EXCEPTION_ACCESS_VIOLATION ||
        record->ExceptionInformation[1] != (uintptr_t)record->ExceptionAddress ||
        !ss_os_read_memory((const void *)what->ContextRecord->Rsp, &back, sizeof back))
        return 0;
    return ss_os_is_behind_call(back) ? back - 1 : 0; /* in the call */
}

static LONG WINAPI on_exception(EXCEPTION_POINTERS *what) {
    tell_once(number_of(what->ExceptionRecord->ExceptionCode),
              (uintptr_t)what->ExceptionRecord->ExceptionAddress, caller_of(what));
    return earlier != NULL ? earlier(what) : EXCEPTION_CONTINUE_SEARCH;
}

/* Of abort(), which raises no exception. */
static void on_abort(int number) {
    tell_once(number, (uintptr_t)__builtin_return_address(0), 0);
    if (earlier_abort != SIG_DFL && earlier_abort != SIG_IGN && earlier_abort != SIG_ERR)
        earlier_abort(number);
}

void ss_os_tell_faults(void (*told)(int number, uintptr_t pc, uintptr_t caller)) {
    if (tell != NULL)
        return;
    tell = told;
    ss_os_use_fault_stack();
    earlier = SetUnhandledExceptionFilter(on_exception);
    earlier_abort = signal(SIGABRT, on_abort);
}

/* The system keeps that much of the stack back for who handles its overflow. */
void *ss_os_use_fault_stack(void) {
    ULONG room = STACK;
    SetThreadStackGuarantee(&room);
    return NULL;
}

void ss_os_leave_fault_stack(void *stack) {
    (void)stack;
}

void ss_os_write_error(const char *before, const char *text, size_t len) {
    const HANDLE error = GetStdHandle(STD_ERROR_HANDLE);
    char line[4096];
    DWORD done;
    const size_t head = strlen(before);
    if (head + len + 1 > sizeof line)
        len = sizeof line - 1 - head;
    memcpy(line, before, head);
    memcpy(line + head, text, len);
    line[head + len] = '\n';
    WriteFile(error, line, (DWORD)(head + len + 1), &done, NULL);
}
