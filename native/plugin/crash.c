#include "plugin/crash.h"

#include <stdlib.h>
#include <string.h>

enum {
    HOSTS = 512, /* those beyond are not named */
    QUEUES = 16,
    LINES = 4096, /* in case that others write on */
    REMOVE_MS = 2000,
};

static _Atomic(ss_host *) hosts[HOSTS];
static _Atomic uint32_t is_telling; /* what stands in `hosts` is being looked at */
static _Atomic uint32_t tells_exits;

void ss_crash_add(ss_host *host) {
    for (size_t i = 0; i < HOSTS; i++) {
        ss_host *none = NULL;
        if (atomic_compare_exchange_strong(&hosts[i], &none, host))
            return;
    }
}

void ss_crash_remove(ss_host *host) {
    for (size_t i = 0; i < HOSTS; i++) {
        ss_host *it = host;
        if (!atomic_compare_exchange_strong(&hosts[i], &it, NULL))
            continue;
        /* Either the handler no longer finds it, or it is seen here that it may be using it. */
        for (uint32_t ms = 0; ms < REMOVE_MS && atomic_load(&is_telling) != 0; ms++)
            ss_os_sleep_ns(1000000);
        return;
    }
}

/* ---- In a handler: nothing that may wait, or ask for memory ------------------------------- */

typedef struct text {
    size_t len;
    char data[1024];
} text;

static void add(text *t, const char *more) {
    while (*more != '\0' && t->len < sizeof t->data - 1) {
        const char c = *more++;
        t->data[t->len++] = c;
        if ((unsigned char)c < 0x20)
            t->data[t->len - 1] = '?';
    }
}

static void add_number(text *t, uint64_t number, unsigned base) {
    char digits[24];
    size_t at = sizeof digits - 1;
    digits[at] = '\0';
    do
        digits[--at] = "0123456789abcdef"[number % base];
    while ((number /= base) != 0);
    add(t, digits + at);
}

typedef struct place {
    uintptr_t pc;
    uint64_t offset;
    bool found;
    char file[512];
} place;

static void look(const ss_os_map *map, void *context) {
    place *p = context;
    if (p->found || p->pc < map->start || p->pc >= map->end)
        return;
    p->found = true;
    p->offset = p->pc - map->start + map->offset;
    for (size_t i = 0; i < sizeof p->file - 1 && map->name[i] != '\0'; i++)
        p->file[i] = map->name[i];
}

/* Whose plugin does this thread call? */
static ss_host *called(void) {
    for (size_t i = 0; i < HOSTS; i++) {
        ss_host *host = atomic_load(&hosts[i]);
        if (host != NULL && atomic_load(&host->caller) == ss_os_self())
            return host;
    }
    return NULL;
}

static void tell_lines(ss_log_queue *log) {
    ss_log_line line;
    for (int i = 0; i < LINES && ss_log_queue_next_in_crash(log, &line); i++) {
        ss_os_write_error("slipstream: unread: ", line.text, line.len);
    }
}

static void tell_all_lines(void) {
    ss_log_queue *seen[QUEUES];
    size_t count = 0;
    for (size_t i = 0; i < HOSTS && count < QUEUES; i++) {
        const ss_host *host = atomic_load(&hosts[i]);
        bool known = host == NULL;
        for (size_t k = 0; !known && k < count; k++)
            known = seen[k] == host->log;
        if (!known)
            tell_lines(seen[count++] = host->log);
    }
}

/* In which function of which plugin. */
static void add_call(text *t, const ss_host *host) {
    const char *function = atomic_load(&host->function);
    const uint64_t ordinal = atomic_load(&host->delivered);
    add(t, " in ");
    add(t, function == NULL ? "on_broadcast" : function);
    add(t, " of plugin ");
    add(t, host->name[0] != '\0' ? host->name : "that is not constructed yet");
    if (ordinal != 0) {
        add(t, ", last ordinal ");
        add_number(t, ordinal, 10);
    }
}

/* A file and how far into it, or an address. */
static void add_place(text *t, uintptr_t pc) {
    place p = {.pc = pc};
    ss_os_walk_maps(look, &p);
    add(t, p.found ? p.file : "");
    add(t, p.found ? " + 0x" : "0x");
    add_number(t, p.found ? p.offset : pc, 16);
}

static void tell(int number, uintptr_t pc, uintptr_t caller) {
    text t = {0};
    atomic_store(&is_telling, 1);
    const ss_host *host = called();
    add(&t, "slipstream: signal ");
    add_number(&t, (uint64_t)number, 10);
    if (host == NULL)
        add(&t, " outside of any plugin's call");
    else
        add_call(&t, host);
    add(&t, ", at ");
    add_place(&t, pc);
    if (caller != 0) {
        add(&t, ", which is not code, called at ");
        add_place(&t, caller);
    }
    ss_os_write_error("", t.data, t.len);
    tell_all_lines();
    atomic_store(&is_telling, 0);
}

/* exit() runs this on the thread that called it. */
static void tell_exit(void) {
    text t = {0};
    atomic_store(&is_telling, 1);
    const ss_host *host = called();
    if (host != NULL && host->process == ss_os_process()) {
        add(&t, "slipstream: exit was called");
        add_call(&t, host);
        ss_os_write_error("", t.data, t.len);
    }
    atomic_store(&is_telling, 0);
}

void ss_crash_tell_all(void) {
    ss_os_tell_faults(tell);
    if (atomic_exchange(&tells_exits, 1) == 0)
        atexit(tell_exit);
}
