/* peek: looking at memory and at the process without trusting either. */
#include "platform/windows/inner.h"

#include <psapi.h>
#include <stdlib.h>
#include <string.h>
#include <tlhelp32.h>

/* The system says so of what is only reserved, too; wine reads that as zeros. */
static bool is_there(const void *address, size_t len) {
    const uintptr_t start = (uintptr_t)address;
    uintptr_t at = start;
    while (at - start < len) {
        MEMORY_BASIC_INFORMATION info;
        if (VirtualQuery((const void *)at, &info, sizeof info) == 0 || info.State != MEM_COMMIT)
            return false;
        at = (uintptr_t)info.BaseAddress + info.RegionSize;
    }
    return true;
}

bool ss_os_read_memory(const void *address, void *out, size_t len) {
    SIZE_T done = 0;
    return address != NULL && is_there(address, len) &&
           ReadProcessMemory(GetCurrentProcess(), address, out, len, &done) && done == len;
}

/* ---- Code ------------------------------------------------------------------------------ */

int ss_os_find_not_executable(const uintptr_t *addresses, int count) {
    const DWORD executable = PAGE_EXECUTE | PAGE_EXECUTE_READ | PAGE_EXECUTE_READWRITE |
                             PAGE_EXECUTE_WRITECOPY;
    for (int i = 0; i < count; i++) {
        MEMORY_BASIC_INFORMATION info;
        if (addresses[i] != 0 &&
            (VirtualQuery((const void *)addresses[i], &info, sizeof info) == 0 ||
             info.State != MEM_COMMIT || (info.Protect & executable) == 0))
            return i;
    }
    return -1;
}

/* The parts of one library; it may be unloaded meanwhile. */
static bool visit_parts(const uint8_t *base, bool (*visit)(const ss_os_range *, void *),
                        void *context) {
    IMAGE_DOS_HEADER start;
    IMAGE_NT_HEADERS head;
    IMAGE_SECTION_HEADER part;
    if (!ss_os_read_memory(base, &start, sizeof start))
        return false;
    const uint8_t *at = base + start.e_lfanew;
    if (!ss_os_read_memory(at, &head, sizeof head))
        return false;
    at += offsetof(IMAGE_NT_HEADERS, OptionalHeader) + head.FileHeader.SizeOfOptionalHeader;
    for (WORD i = 0; i < head.FileHeader.NumberOfSections; i++, at += sizeof part) {
        if (!ss_os_read_memory(at, &part, sizeof part))
            return false;
        const uintptr_t from = (uintptr_t)base + part.VirtualAddress;
        const ss_os_range range = {from, from + part.Misc.VirtualSize};
        if ((part.Characteristics & IMAGE_SCN_MEM_EXECUTE) != 0 && visit(&range, context))
            return true;
    }
    return false;
}

bool ss_windows_each_code(bool (*visit)(const ss_os_range *, void *), void *context) {
    enum { MOST = 4096 };
    DWORD bytes = 0;
    bool found = false;
    HMODULE *modules = malloc(MOST * sizeof *modules);
    if (modules != NULL &&
        K32EnumProcessModules(GetCurrentProcess(), modules, MOST * sizeof *modules, &bytes)) {
        const size_t count = bytes / sizeof *modules;
        for (size_t i = 0; i < count && i < MOST && !found; i++)
            found = visit_parts((const uint8_t *)modules[i], visit, context);
    }
    free(modules);
    return found;
}

typedef struct code_list {
    ss_os_range *out;
    size_t room;
    size_t count;
} code_list;

static bool add_code(const ss_os_range *range, void *context) {
    code_list *list = context;
    if (list->count < list->room)
        list->out[list->count++] = *range;
    return list->count == list->room;
}

size_t ss_os_code_ranges(ss_os_range *out, size_t room) {
    code_list list = {out, room, 0};
    ss_windows_each_code(add_code, &list);
    return list.count;
}

/* ---- Threads --------------------------------------------------------------------------- */

size_t ss_os_thread_ids(int *ids, size_t room) {
    const HANDLE all = CreateToolhelp32Snapshot(TH32CS_SNAPTHREAD, 0);
    const DWORD own = GetCurrentProcessId();
    THREADENTRY32 entry = {.dwSize = sizeof entry};
    size_t count = 0;
    if (all == INVALID_HANDLE_VALUE)
        return 0;
    for (BOOL more = Thread32First(all, &entry); more && count < room;
         more = Thread32Next(all, &entry))
        if (entry.th32OwnerProcessID == own)
            ids[count++] = (int)entry.th32ThreadID;
    CloseHandle(all);
    return count;
}

int ss_os_thread_own_id(void) {
    return (int)GetCurrentThreadId();
}

/* NULL if it has ended, or ends. */
static HANDLE open_thread(int id, DWORD rights) {
    DWORD code = 0;
    const HANDLE thread = OpenThread(rights | THREAD_QUERY_LIMITED_INFORMATION | SYNCHRONIZE, FALSE,
                                     (DWORD)id);
    if (thread == NULL || WaitForSingleObject(thread, 0) == WAIT_TIMEOUT)
        return thread;
    (void)code;
    CloseHandle(thread);
    return NULL;
}

bool ss_os_thread_get_name(int id, char *out, size_t room) {
    wchar_t *name = NULL;
    const HANDLE thread = open_thread(id, 0);
    if (thread == NULL)
        return false;
    out[0] = '\0';
    if (SUCCEEDED(GetThreadDescription(thread, &name)) && name != NULL)
        ss_windows_text(name, out, room);
    LocalFree(name);
    CloseHandle(thread);
    return true;
}

static uintptr_t stack_of(HANDLE thread, uintptr_t *pc) {
    CONTEXT machine;
    memset(&machine, 0, sizeof machine);
    machine.ContextFlags = CONTEXT_CONTROL;
    if (!GetThreadContext(thread, &machine))
        return 0;
#if defined(__x86_64__)
    *pc = machine.Rip;
    return machine.Rsp;
#else
    *pc = machine.Pc;
    return machine.Sp;
#endif
}

/* A thread's stack, from its pointer upward, holds the addresses it returns to. Nothing is
 * allocated while it is stopped: it may be the one that has the allocator's lock. */
int ss_os_thread_is_in(int id, const ss_os_range *code, size_t count) {
    enum { WORDS = 512, PIECES = 16 };
    uintptr_t words[WORDS];
    uintptr_t pc = 0;
    MEMORY_BASIC_INFORMATION info;
    if ((DWORD)id == GetCurrentThreadId())
        return 0;
    const HANDLE thread = open_thread(id, THREAD_SUSPEND_RESUME | THREAD_GET_CONTEXT);
    if (thread == NULL)
        return 0;
    if (SuspendThread(thread) == (DWORD)-1) {
        CloseHandle(thread);
        return 0;
    }
    uintptr_t stack = stack_of(thread, &pc);
    int found = ss_os_lies_in(pc, code, count);
    if (stack == 0 || VirtualQuery((const void *)stack, &info, sizeof info) == 0)
        stack = 0;
    const uintptr_t end = stack == 0 ? 0 : (uintptr_t)info.BaseAddress + info.RegionSize;
    for (int piece = 0; piece < PIECES && stack < end && !found; piece++, stack += sizeof words) {
        const size_t bytes = end - stack < sizeof words ? end - stack : sizeof words;
        if (!ss_os_read_memory((const void *)stack, words, bytes))
            break;
        for (size_t i = 0; i < bytes / sizeof words[0] && !found; i++)
            found = ss_os_lies_in(words[i], code, count);
    }
    ResumeThread(thread);
    CloseHandle(thread);
    return found;
}
