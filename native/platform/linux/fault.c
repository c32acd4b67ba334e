/* fault: what a handler of signals asks: the process's mappings, and where a thread was. It makes
 * only system calls: the process may be in any state. */
#include "platform/posix/inner.h"

#include <fcntl.h>
#include <ucontext.h>
#include <unistd.h>

/* ---- The process's mappings -------------------------------------------------------------- */

static uintptr_t hex_number(const char **p) {
    uintptr_t value = 0;
    for (;; (*p)++) {
        const char c = **p;
        if (c >= '0' && c <= '9')
            value = value * 16 + (uintptr_t)(c - '0');
        else if (c >= 'a' && c <= 'f')
            value = value * 16 + (uintptr_t)(c - 'a' + 10);
        else
            return value;
    }
}

static bool read_line(const char *line, ss_os_map *map) {
    const char *p = line;
    map->start = hex_number(&p);
    if (*p++ != '-')
        return false;
    map->end = hex_number(&p);
    p += 6; /* " r-xp " */
    map->offset = hex_number(&p);
    while (*p != '\0' && *p != '/' && *p != '[')
        p++;
    map->name = p;
    return true;
}

void ss_os_walk_maps(void (*visit)(const ss_os_map *, void *), void *context) {
    char chunk[4096];
    char line[512];
    size_t used = 0;
    const int maps = open("/proc/self/maps", O_RDONLY | O_CLOEXEC);
    ssize_t n;
    while (maps >= 0 && (n = read(maps, chunk, sizeof chunk)) > 0) {
        for (ssize_t i = 0; i < n; i++) {
            ss_os_map map;
            if (chunk[i] != '\n') {
                if (used < sizeof line - 1)
                    line[used++] = chunk[i];
                continue;
            }
            line[used] = '\0';
            used = 0;
            if (read_line(line, &map))
                visit(&map, context);
        }
    }
    if (maps >= 0)
        close(maps);
}

/* ---- Where a thread was ------------------------------------------------------------------ */

uintptr_t ss_os_fault_pc(const void *context) {
    const ucontext_t *machine = context;
#if defined(__x86_64__)
    return (uintptr_t)machine->uc_mcontext.gregs[REG_RIP];
#elif defined(__aarch64__)
    return (uintptr_t)machine->uc_mcontext.pc;
#else
    (void)machine;
    return 0;
#endif
}

uintptr_t ss_os_fault_return(const void *context) {
    const ucontext_t *machine = context;
#if defined(__x86_64__)
    uintptr_t back;
    const void *top = (const void *)(uintptr_t)machine->uc_mcontext.gregs[REG_RSP];
    return ss_os_read_memory(top, &back, sizeof back) ? back : 0;
#elif defined(__aarch64__)
    return (uintptr_t)machine->uc_mcontext.regs[30];
#else
    (void)machine;
    return 0;
#endif
}
