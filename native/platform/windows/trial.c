/* trial: what the core asks of Windows, tried with the calls that the core makes. */
#include "platform/windows/inner.h"

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

static bool try_placeholders(const char **why) {
    *why = "this Windows is older; rings are mapped where addresses were free";
    return ss_windows_has_placeholders();
}

static _Atomic uint32_t rung;

static void *ring_later(void *unused) {
    (void)unused;
    ss_os_sleep_ns(1000000);
    atomic_store(&rung, 1);
    ss_os_wake(&rung, false);
    return NULL;
}

static bool try_wake(const char **why) {
    const uint64_t patience = UINT64_C(2000000000);
    const uint64_t begin = ss_os_now_ns();
    ss_os_thread thread;
    atomic_store(&rung, 0);
    *why = "another thread was not woken";
    if (!ss_os_thread_start(&thread, ring_later, NULL))
        return false;
    while (atomic_load(&rung) == 0 && ss_os_now_ns() - begin < patience)
        ss_os_wait(&rung, 0, patience, false);
    ss_os_thread_join(thread);
    return ss_os_now_ns() - begin < patience;
}

static bool try_barrier(const char **why) {
    *why = "refused";
    return ss_os_has_barrier() && ss_os_barrier();
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
        {try_mirror, "MapViewOfFile", "mapped twice, side by side"},
        {try_placeholders, "MEM_RESERVE_PLACEHOLDER", "no other thread takes addresses meanwhile"},
        {try_wake, "WaitOnAddress", "woke another thread"},
        {try_barrier, "FlushProcessWriteBuffers", "done"},
        {try_reading, "ReadProcessMemory", "read own memory"},
        {try_code, "VirtualQuery", "tells code from data"},
        {try_threads, "CreateToolhelp32Snapshot", "shows the threads"},
    };
    if (number >= sizeof trials / sizeof trials[0])
        return false;
    const char *why = NULL;
    out->works = trials[number].run(&why);
    out->name = trials[number].name;
    out->found = out->works ? trials[number].found : why;
    return true;
}
