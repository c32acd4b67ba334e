#include "library/peek.h"

#include <stdlib.h>
#include <string.h>

int ss_peek_text(const char *address, char *out, size_t room) {
    size_t used = 0;
    while (used < room) {
        /* Never across the end of a page whose successor may be missing. */
        const size_t to_edge = 64 - ((uintptr_t)(address + used) & 63);
        const size_t piece = to_edge < room - used ? to_edge : room - used;
        if (!ss_os_read_memory(address + used, out + used, piece))
            return -1;
        const char *end = memchr(out + used, '\0', piece);
        if (end != NULL)
            return (int)(end - out);
        used += piece;
    }
    return -2;
}

void ss_peek_threads(ss_threads *out) {
    out->count = ss_os_thread_ids(out->ids, SS_THREADS_MAX);
}

static bool known(const ss_threads *threads, int id) {
    for (size_t i = 0; i < threads->count; i++)
        if (threads->ids[i] == id)
            return true;
    return false;
}

bool ss_peek_thread_of(const ss_os_range *code, size_t count, const char *comm,
                       const ss_threads *before) {
    char name[64];
    ss_threads *now = malloc(sizeof *now);
    bool found = false;
    if (now == NULL)
        return true; /* not to know is to keep it */
    ss_peek_threads(now);
    for (size_t i = 0; i < now->count && !found; i++) {
        if (now->ids[i] == ss_os_thread_own_id() || known(before, now->ids[i]))
            continue; /* our own stack holds the very bounds that are looked for */
        if (!ss_os_thread_get_name(now->ids[i], name, sizeof name))
            continue; /* it has ended */
        /* Other instances have threads named like ours; what they start is their business. */
        const size_t family = strcspn(comm, "-") + 1;
        if (strncmp(name, comm, family) == 0)
            found = strcmp(name, comm) == 0;
        else
            found = ss_os_thread_is_in(now->ids[i], code, count);
    }
    free(now);
    return found;
}
