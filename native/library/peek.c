#include "library/peek.h"

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

/* As ss_peek_thread_of, of one thread; looks again at one that runs, as often as is left. */
static int comes_from(int id, const ss_os_range *code, size_t count, const char *comm,
                      unsigned *looks) {
    char name[64];
    /* Other instances have threads named like ours; what they start is their business. */
    const size_t family = strcspn(comm, "-") + 1;
    if (ss_os_thread_get_name(id, name, sizeof name) && strncmp(name, comm, family) == 0)
        return strcmp(name, comm) == 0;
    int found;
    while ((found = ss_os_thread_is_in(id, code, count)) < 0 && *looks > 0) {
        --*looks;
        ss_os_sleep_ns(1000000);
    }
    return found;
}

int ss_peek_thread_of(const ss_os_range *code, size_t count, const char *comm,
                      const ss_threads *before) {
    /* Milliseconds, for all of them: who waits for a processor seems to run, too. */
    unsigned looks = 300;
    ss_threads now;
    ss_peek_threads(&now);
    int found = now.count == 0 || now.count == SS_THREADS_MAX ? -1 : 0;
    for (size_t i = 0; found == 0 && i < now.count; i++)
        /* Our own stack holds the very bounds that are looked for. */
        if (now.ids[i] != ss_os_thread_own_id() && !known(before, now.ids[i]))
            found = comes_from(now.ids[i], code, count, comm, &looks);
    return found;
}
