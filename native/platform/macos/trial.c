/* trial: what the core asks of macOS, tried with the calls that the core makes. */
#include "platform/platform.h"

#include <string.h>

/* Does it work? Else `why` says why not. */
typedef bool trial(const char **why);

static bool try_mirror(const char **why) {
    uint8_t *ring = ss_os_mirror_new(SS_OS_PAGE, SS_OS_PAGE, NULL);
    *why = ring == NULL ? "no two views side by side" : "what was written is not there twice";
    if (ring == NULL)
        return false;
    ring[SS_OS_PAGE] = 1;
    const bool seen = ring[2 * SS_OS_PAGE] == 1;
    ss_os_mirror_free(ring, SS_OS_PAGE, SS_OS_PAGE);
    return seen;
}

static bool try_reading(const char **why) {
    char copy[5] = "";
    *why = "read something else, or where nothing is";
    return ss_os_read_memory("slip", copy, sizeof copy) && strcmp(copy, "slip") == 0 &&
           !ss_os_read_memory((const void *)(uintptr_t)8, copy, 1);
}

static bool try_code(const char **why) {
    uintptr_t addresses[] = {(uintptr_t)try_code, (uintptr_t)&addresses};
    *why = "does not tell code from data";
    return ss_os_find_not_executable(addresses, 2) == 1;
}

static bool try_threads(const char **why) {
    int ids[1024];
    const size_t count = ss_os_thread_ids(ids, sizeof ids / sizeof ids[0]);
    *why = "does not show this thread";
    for (size_t i = 0; i < count; i++)
        if (ids[i] == ss_os_thread_own_id())
            return true;
    return false;
}

bool ss_os_try(uint32_t number, ss_os_trial *out) {
    static const struct {
        trial *run;
        const char *name;
        const char *found;
    } trials[] = {
        {try_mirror, "vm_remap", "mapped twice, side by side"},
        {try_reading, "vm_read_overwrite", "read own memory"},
        {try_code, "vm_region_64", "tells code from data"},
        {try_threads, "task_threads", "shows the threads"},
    };
    if (number >= sizeof trials / sizeof trials[0])
        return false;
    const char *why = NULL;
    out->works = trials[number].run(&why);
    out->name = trials[number].name;
    out->found = out->works ? trials[number].found : why;
    return true;
}
