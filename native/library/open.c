#include "library/open.h"

#include <dlfcn.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

/* Calls of the loader under way. A library whose constructor or destructor hangs keeps the
 * loader's lock, for which exit() would wait for ever. */
static _Atomic int in_loader;

static void leave_hung_loader(int status, void *unused) {
    const struct timespec slice = {0, 50 * 1000000};
    (void)unused;
    for (int i = 0; i < 20 && atomic_load(&in_loader) != 0; i++)
        nanosleep(&slice, NULL);
    if (atomic_load(&in_loader) != 0)
        _exit(status);
}

static void watch_exit(void) {
    on_exit(leave_hung_loader, NULL);
}

static bool open_it(ss_library *library, ss_refusal *why) {
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, watch_exit);
    ss_peek_threads(&library->before);
    atomic_fetch_add(&in_loader, 1);
    library->handle = dlopen(library->path, RTLD_NOW | RTLD_LOCAL);
    atomic_fetch_sub(&in_loader, 1);
    if (library->handle != NULL)
        return true;
    const char *reason = dlerror();
    const size_t prefix = strlen(library->path);
    if (reason != NULL && strncmp(reason, library->path, prefix) == 0 && reason[prefix] == ':')
        reason += prefix + 2;
    ss_refuse(why, SS_REFUSED_CANNOT_OPEN, "cannot open %s: %s", library->shown,
              reason == NULL ? "unknown reason" : reason);
    return ss_advise(why, "see which library or symbol is missing: ldd -r %s", library->shown);
}

ss_constructor ss_library_open(ss_library *library, ss_refusal *why) {
    const char *shown = library->shown;
    ss_constructor create = NULL;
    if (!ss_file_check(library->path, shown, &library->file, why) || !open_it(library, why))
        return NULL;
    void *symbol = dlsym(library->handle, SLIPSTREAM_CONSTRUCTOR);
    const uintptr_t address = (uintptr_t)symbol;
    if (symbol == NULL) {
        ss_refuse(why, SS_REFUSED_NO_CONSTRUCTOR, "%s does not export %s", shown,
                  SLIPSTREAM_CONSTRUCTOR);
        ss_advise(why, "declare it with SLIPSTREAM_EXPORT and look at nm -D %s", shown);
    } else if (ss_peek_executable(&address, 1) >= 0) {
        ss_refuse(why, SS_REFUSED_NO_CONSTRUCTOR,
                  "%s exports %s as a function, but it lies in memory that cannot be executed",
                  shown, SLIPSTREAM_CONSTRUCTOR);
        ss_advise(why, "define it as in slipstream.h, as a function that returns the table");
    } else {
        memcpy(&create, &symbol, sizeof create);
    }
    return create;
}

uint32_t ss_library_close(ss_library *library, uint32_t flags, const char *comm) {
    void *handle = library->handle;
    library->handle = NULL;
    if (handle == NULL)
        return SS_MAPPING_NONE;
    if ((flags & SLIPSTREAM_FLAG_RESIDENT) != 0)
        return SS_MAPPING_RESIDENT;
    if (library->file.is_go)
        return SS_MAPPING_GO;
    if (ss_peek_thread_of(library->path, comm, &library->before))
        return SS_MAPPING_THREADS;
    atomic_fetch_add(&in_loader, 1);
    dlclose(handle);
    atomic_fetch_sub(&in_loader, 1);
    return ss_peek_mapped(library->path) ? SS_MAPPING_PINNED : SS_MAPPING_GONE;
}
