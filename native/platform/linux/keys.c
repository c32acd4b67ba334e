/* keys: threads' own data, whose destructors the C library calls when a thread ends. It tells
 * nobody which there are; but it keeps them in a table, by the keys' numbers, and that is found by
 * keys of ours. What is seen there is believed only where three of them lie as in a table. */
#include "platform/platform.h"

#include <limits.h>
#include <link.h>
#include <pthread.h>

enum { PROBES = 3 };
typedef volatile const uintptr_t word;

static char marks[PROBES]; /* their addresses stand in for functions, which nobody calls */
static word *table;        /* the destructor of key 0; NULL: it was not found */
static size_t stride;      /* from one to the next, in words */
static size_t rows;

/* Foreign memory, which sanitizers know nothing of. */
#define UNCHECKED __attribute__((no_sanitize("address", "thread", "undefined")))

UNCHECKED static word *find(word *from, word *to, uintptr_t value) {
    while (from < to && *from != value)
        from++;
    return from < to ? from : NULL;
}

UNCHECKED static bool look_into(word *from, word *to, const pthread_key_t keys[PROBES]) {
    word *first = find(from, to, (uintptr_t)&marks[0]);
    word *second = find(from, to, (uintptr_t)&marks[1]);
    if (first == NULL || second <= first || keys[1] <= keys[0] || keys[2] <= keys[0])
        return false;
    stride = (size_t)(second - first) / (keys[1] - keys[0]);
    if (stride == 0 || (size_t)(second - first) != stride * (keys[1] - keys[0]) ||
        (size_t)(first - from) < stride * keys[0] ||
        (size_t)(to - first) <= stride * (keys[2] - keys[0]) ||
        first[stride * (keys[2] - keys[0])] != (uintptr_t)&marks[2])
        return false;
    table = first - stride * keys[0];
    rows = (size_t)(to - table) / stride;
    rows = rows < PTHREAD_KEYS_MAX ? rows : PTHREAD_KEYS_MAX;
    return true;
}

static int look_at_object(struct dl_phdr_info *info, size_t size, void *keys) {
    (void)size;
    for (size_t i = 0; i < info->dlpi_phnum; i++) {
        const ElfW(Phdr) *part = &info->dlpi_phdr[i];
        const uintptr_t start = (info->dlpi_addr + part->p_vaddr + 7) & ~(uintptr_t)7;
        const uintptr_t end = info->dlpi_addr + part->p_vaddr + part->p_memsz;
        if (part->p_type == PT_LOAD && (part->p_flags & PF_W) != 0 && start < end &&
            look_into((word *)start, (word *)(end & ~(uintptr_t)7), keys))
            return 1;
    }
    return 0;
}

static void find_table(void) {
    pthread_key_t keys[PROBES];
    size_t made = 0;
    while (made < PROBES &&
           pthread_key_create(&keys[made], (void (*)(void *))(uintptr_t)&marks[made]) == 0)
        made++;
    if (made == PROBES)
        dl_iterate_phdr(look_at_object, keys);
    while (made > 0)
        pthread_key_delete(keys[--made]);
}

/* A deleted key's destructor may still stand there; setting its data is refused. */
UNCHECKED static bool leads_into(pthread_key_t key, const ss_os_range *code, size_t count) {
    return ss_os_lies_in(table[stride * key], code, count) &&
           pthread_setspecific(key, pthread_getspecific(key)) == 0;
}

static bool can_see(void) {
    static ss_os_once once = SS_OS_ONCE;
    ss_os_call_once(&once, find_table);
    return table != NULL;
}

int ss_os_key_into(const ss_os_range *code, size_t count) {
    if (!can_see())
        return -1;
    for (pthread_key_t key = 0; key < rows; key++)
        if (leads_into(key, code, count))
            return 1;
    return 0;
}

void ss_os_forget_keys_into(const ss_os_range *code, size_t count) {
    for (pthread_key_t key = 0; can_see() && key < rows; key++)
        if (leads_into(key, code, count))
            pthread_setspecific(key, NULL);
}
