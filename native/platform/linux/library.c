/* library: opening and closing libraries, and what is mapped where. */
#include "platform/linux/inner.h"

#include <dlfcn.h>
#include <link.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Calls of the loader under way. A library whose constructor or destructor hangs keeps the
 * loader's lock, for which exit() would wait for ever. */
static _Atomic int in_loader;

static void leave_hung_loader(int status, void *unused) {
    (void)unused;
    for (int i = 0; i < 20 && atomic_load(&in_loader) != 0; i++)
        ss_os_sleep_ns(50 * 1000000);
    if (atomic_load(&in_loader) != 0)
        _exit(status);
}

#if defined(__GLIBC__)
static void watch_exit(void) {
    on_exit(leave_hung_loader, NULL);
}
#else
static void leave_it(void) {
    leave_hung_loader(0, NULL); /* what the program ends with is not told */
}

static void watch_exit(void) {
    atexit(leave_it);
}
#endif

/* glibc begins with the path, musl has some words before it. */
static const char *without_path(const char *said, const char *path) {
    static const char *const heads[] = {"", "Error loading shared library ", "Error relocating "};
    const size_t len = strlen(path);
    for (size_t i = 0; i < sizeof heads / sizeof heads[0]; i++) {
        const size_t head = strlen(heads[i]);
        if (strncmp(said, heads[i], head) == 0 && strncmp(said + head, path, len) == 0 &&
            said[head + len] == ':')
            return said + head + len + 2;
    }
    return said;
}

void *ss_os_library_open(const char *path, char *why, size_t room) {
    static ss_os_once once = SS_OS_ONCE;
    ss_os_call_once(&once, watch_exit);
    atomic_fetch_add(&in_loader, 1);
    void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    atomic_fetch_sub(&in_loader, 1);
    if (library != NULL)
        return library;
    const char *said = dlerror();
    snprintf(why, room, "%s", said == NULL ? "unknown reason" : without_path(said, path));
    return NULL;
}

void *ss_os_library_symbol(void *library, const char *name) {
    return dlsym(library, name);
}

void ss_os_library_close(void *library) {
    atomic_fetch_add(&in_loader, 1);
    dlclose(library);
    atomic_fetch_sub(&in_loader, 1);
}

static bool is_of_path(const ss_os_mapping *m, void *path) {
    return ss_os_mapping_is_of(m, path);
}

static int has_path(struct dl_phdr_info *info, size_t size, void *path) {
    (void)size;
    return strcmp(info->dlpi_name, path) == 0;
}

bool ss_os_library_is_mapped(const char *path) {
    void *wanted = (void *)(uintptr_t)path;
    const int seen = ss_os_each_mapping(is_of_path, wanted);
    return seen < 0 ? dl_iterate_phdr(has_path, wanted) != 0 : seen > 0;
}
