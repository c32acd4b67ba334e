#include "library/open.h"

#include "platform/platform.h"

#include <stdlib.h>
#include <string.h>

enum { RANGES_MOST = 4096 };

static bool is_among(const ss_os_range *ranges, size_t count, uintptr_t start) {
    for (size_t i = 0; i < count; i++)
        if (ranges[i].start == start)
            return true;
    return false;
}

/* Keeps what is there now, and was not `before`; and where the constructor lies, which was there
 * if the library was open already. */
static void keep_code(ss_library *library, const ss_os_range *before, size_t count,
                      ss_os_range *now) {
    const uintptr_t own =
        (uintptr_t)ss_os_library_symbol(library->handle, SLIPSTREAM_CONSTRUCTOR);
    const size_t all = ss_os_code_ranges(now, RANGES_MOST);
    for (size_t i = 0; i < all && library->code_count < SS_CODE_MAX; i++)
        if (!is_among(before, count, now[i].start) || (own >= now[i].start && own < now[i].end))
            library->code[library->code_count++] = now[i];
}

static size_t folder_len(const char *path) {
    const char *slash = strrchr(path, '/');
    return slash == NULL ? 0 : (size_t)(slash - path);
}

/* The loader says what it could not do; what to do about that depends on where the copy lies. */
static bool advise(const ss_library *library, const char *reason, ss_refusal *why) {
    const char *path = library->path;
    const char *shown = library->shown;
    const int folder = (int)folder_len(path);
    const bool elsewhere =
        folder_len(shown) != (size_t)folder || strncmp(path, shown, (size_t)folder) != 0;
    if (strstr(reason, "static TLS") != NULL)
        return ss_advise(why, "load it with mode \"process\", where no other library has taken the "
                              "room, or earlier; where that is not enough, start the host with "
                              "GLIBC_TUNABLES=glibc.rtld.optional_static_tls=BYTES");
    if (strstr(reason, "failed to map") != NULL)
        return ss_advise(why, "its copy is in %.*s: that is mounted noexec, or memory is short; %s",
                         folder, path,
                         elsewhere ? "let the host write into the library's own folder, or set "
                                     "TMPDIR to another one"
                                   : "move the library to another filesystem");
    if (strstr(reason, "cannot open shared object file") == NULL || !elsewhere)
        return ss_advise(why, "see which library or symbol is missing: " SS_OS_LIST_NEEDED " %s",
                         shown);
    return ss_advise(why, "the host may not write into the library's folder, so its copy is in "
                          "%.*s, which is $ORIGIN there: let the host write into %.*s, or name "
                          "that in LD_LIBRARY_PATH",
                     folder, path, (int)folder_len(shown), shown);
}

static bool open_it(ss_library *library, ss_refusal *why) {
    char reason[1024] = "no memory";
    ss_os_range *before = malloc(2 * RANGES_MOST * sizeof *before);
    ss_peek_threads(&library->before);
    if (before != NULL) {
        const size_t count = ss_os_code_ranges(before, RANGES_MOST);
        library->handle = ss_os_library_open(library->path, reason, sizeof reason);
        if (library->handle != NULL)
            keep_code(library, before, count, before + RANGES_MOST);
        free(before);
    }
    if (library->handle != NULL)
        return true;
    ss_refuse(why, SS_REFUSED_CANNOT_OPEN, "cannot open %s: %s", library->shown, reason);
    return advise(library, reason, why);
}

ss_constructor ss_library_open(ss_library *library, ss_refusal *why) {
    const char *shown = library->shown;
    ss_constructor create = NULL;
    if (!ss_file_check(library->path, shown, &library->file, why) || !open_it(library, why))
        return NULL;
    void *symbol = ss_os_library_symbol(library->handle, SLIPSTREAM_CONSTRUCTOR);
    const uintptr_t address = (uintptr_t)symbol;
    if (symbol == NULL) {
        ss_refuse(why, SS_REFUSED_NO_CONSTRUCTOR, "%s does not export %s", shown,
                  SLIPSTREAM_CONSTRUCTOR);
        ss_advise(why, "declare it with SLIPSTREAM_EXPORT and look at " SS_OS_LIST_EXPORTS " %s",
                  shown);
    } else if (ss_os_find_not_executable(&address, 1) >= 0) {
        ss_refuse(why, SS_REFUSED_NO_CONSTRUCTOR,
                  "%s exports %s as a function, but it is in memory that cannot be executed",
                  shown, SLIPSTREAM_CONSTRUCTOR);
        ss_advise(why, "define it as in slipstream.h, as a function that returns the table");
    } else {
        memcpy(&create, &symbol, sizeof create);
    }
    return create;
}

uint32_t ss_library_close(ss_library *library, uint32_t flags, const char *comm, bool elsewhere) {
    void *handle = library->handle;
    library->handle = NULL;
    if (handle == NULL)
        return SS_MAPPING_NONE;
    if ((flags & SLIPSTREAM_FLAG_RESIDENT) != 0)
        return SS_MAPPING_RESIDENT;
    if (library->file.is_go)
        return SS_MAPPING_GO;
    if (library->before.count == 0)
        return SS_MAPPING_UNSEEN;
    const int threads =
        ss_peek_thread_of(library->code, library->code_count, comm, &library->before);
    if (threads != 0)
        return threads > 0 ? SS_MAPPING_THREADS : SS_MAPPING_UNSEEN;
    if (ss_os_signal_into(library->code, library->code_count) != 0)
        return SS_MAPPING_SIGNAL;
    if (elsewhere && ss_os_key_into(library->code, library->code_count) != 0)
        return SS_MAPPING_KEY;
    ss_os_library_close(handle);
    /* What its last functions have left on this thread; no other one has any. */
    ss_os_forget_keys_into(library->code, library->code_count);
    if (!ss_os_library_is_mapped(library->path))
        return SS_MAPPING_GONE;
    return SS_OS_UNMAPS ? SS_MAPPING_PINNED : SS_MAPPING_NEVER;
}
