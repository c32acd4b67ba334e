#include "base/text.h"
#include "plugin/inner.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

/* ---- Refusals -------------------------------------------------------------------- */

static void say(char *out, size_t room, const char *format, va_list args) {
    char raw[SS_TEXT_ROOM];
    const int n = vsnprintf(raw, sizeof raw, format, args);
    ss_text_escape(out, room, raw, n < 0 ? 0 : (size_t)n < sizeof raw ? (size_t)n : sizeof raw - 1);
}

void ss_refuse(ss_instance *self, uint32_t refusal, const char *format, ...) {
    va_list args;
    va_start(args, format);
    say(self->text, sizeof self->text, format, args);
    va_end(args);
    self->refusal = refusal;
    self->hint[0] = '\0';
}

void ss_advise(ss_instance *self, const char *format, ...) {
    va_list args;
    va_start(args, format);
    say(self->hint, sizeof self->hint, format, args);
    va_end(args);
}

/* ---- What is looked at before anything of it runs ----------------------------------- */

static bool check_file(ss_instance *self) {
    struct stat info;
    const int fd = open(self->path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0 || fstat(fd, &info) != 0 || !S_ISREG(info.st_mode)) {
        ss_refuse(self, SS_REFUSED_CANNOT_OPEN, "cannot read %s: %s", self->shown,
                  fd < 0 ? strerror(errno) : "it is not a regular file");
        ss_advise(self, "check the path and its permissions: ls -l %s", self->shown);
        if (fd >= 0)
            close(fd);
        return false;
    }
    const size_t len = (size_t)info.st_size;
    void *file = len == 0 ? NULL : mmap(NULL, len, PROT_READ, MAP_PRIVATE, fd, 0);
    close(fd);
    if (file == MAP_FAILED) {
        ss_refuse(self, SS_REFUSED_CANNOT_OPEN, "cannot read %s: %s", self->shown, strerror(errno));
        return false;
    }
    ss_file_look(file, len, &self->file);
    if (file != NULL)
        munmap(file, len);

    static const char *const texts[] = {
        [SS_FILE_EMPTY] = "is an empty file",
        [SS_FILE_OTHER] = "is not a shared library",
        [SS_FILE_MACH_O] = "is a macOS library (Mach-O)",
        [SS_FILE_PE] = "is a Windows library (PE)",
        [SS_FILE_ARCHIVE] = "is a static library (.a)",
        [SS_FILE_DAMAGED] = "is a damaged ELF file: it ends too early, or contradicts itself",
        [SS_FILE_OBJECT] = "is an object file (.o)",
        [SS_FILE_PROGRAM] = "is a program, not a shared library",
    };
    static const char *const hints[] = {
        [SS_FILE_EMPTY] = "build it again; an interrupted build or copy leaves such a file",
        [SS_FILE_OTHER] = "libpath has to name the compiled plugin (.so), not its source",
        [SS_FILE_MACH_O] = "use the plugin's build for Linux",
        [SS_FILE_PE] = "use the plugin's build for Linux",
        [SS_FILE_ARCHIVE] = "link it as a shared library: cc -shared",
        [SS_FILE_DAMAGED] = "build or copy it again and compare the sizes",
        [SS_FILE_OBJECT] = "link it: cc -shared -o plugin.so plugin.o",
        [SS_FILE_PROGRAM] = "link it with -shared, and without -pie",
    };
    const ss_file *found = &self->file;
    if (found->kind == SS_FILE_FOREIGN) {
        ss_refuse(self, SS_REFUSED_WRONG_ARCHITECTURE,
                  "%s is built for %s (machine %u, %u bit), this host is %s (machine %u, %u bit)",
                  self->shown, ss_file_machine_name(found->machine), (unsigned)found->machine,
                  (unsigned)found->bits, ss_file_machine_name(ss_file_own_machine()),
                  (unsigned)ss_file_own_machine(), (unsigned)(8 * sizeof(void *)));
        ss_advise(self, "use the plugin's build for %s",
                  ss_file_machine_name(ss_file_own_machine()));
        return false;
    }
    if (found->kind != SS_FILE_ELF) {
        ss_refuse(self, SS_REFUSED_NOT_A_LIBRARY, "%s %s", self->shown, texts[found->kind]);
        ss_advise(self, "%s", hints[found->kind]);
        return false;
    }
    if (found->has_constructor && found->constructor_is_function)
        return true;
    if (found->has_constructor) {
        ss_refuse(self, SS_REFUSED_NO_CONSTRUCTOR, "%s exports %s, but not as a function",
                  self->shown, SLIPSTREAM_CONSTRUCTOR);
        ss_advise(self, "define it as in slipstream.h, as a function that returns the table");
    } else if (found->other_major != 0) {
        ss_refuse(self, SS_REFUSED_WRONG_ABI_MAJOR,
                  "%s is a plugin for ABI major %u, this host speaks major %d", self->shown,
                  (unsigned)found->other_major, SLIPSTREAM_ABI_MAJOR);
        ss_advise(self, "use a build of the plugin for major %d, or a host for major %u",
                  SLIPSTREAM_ABI_MAJOR, (unsigned)found->other_major);
    } else if (found->has_rust_constructor) {
        ss_refuse(self, SS_REFUSED_RUST_ABI_PLUGIN,
                  "%s exports _create_plugin: it is a Rust-ABI plugin of snarkVM or Geyser, whose "
                  "layout only the compiler that built it knows",
                  self->shown);
        ss_advise(self, "export %s from it, with the Rust adapter or by hand (slipstream.h)",
                  SLIPSTREAM_CONSTRUCTOR);
    } else {
        ss_refuse(self, SS_REFUSED_NO_CONSTRUCTOR, "%s is a library, but does not export %s",
                  self->shown, SLIPSTREAM_CONSTRUCTOR);
        ss_advise(self, "declare it with SLIPSTREAM_EXPORT and look at nm -D %s", self->shown);
    }
    return false;
}

/* ---- The plugin's table --------------------------------------------------------------- */

static bool is_name(const char *name, size_t len) {
    if (len == 0 || name[0] == '.' || name[0] == '_' || name[0] == '-')
        return false;
    for (size_t i = 0; i < len; i++) {
        const char c = name[i];
        if (!((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '.' || c == '_' || c == '-'))
            return false;
    }
    return true;
}

static bool is_printable(const char *text, size_t len) {
    for (size_t i = 0; i < len; i++)
        if (text[i] < 0x20 || text[i] > 0x7E)
            return false;
    return len > 0;
}

/* One of the table's two texts; `ok` says what it may consist of. */
static bool check_text(ss_instance *self, uint32_t refusal, const char *field, const char *rule,
                       const char *address, char *out, bool (*ok)(const char *, size_t)) {
    const int len = ss_peek_text(address, out, SLIPSTREAM_NAME_MAX + 1);
    if (len >= 0 && ok(out, (size_t)len))
        return true;
    if (address == NULL)
        ss_refuse(self, refusal, "%s: slipstream_plugin::%s is NULL", self->shown, field);
    else if (len == -1)
        ss_refuse(self, refusal,
                  "%s: slipstream_plugin::%s points to memory that cannot be read (%p)",
                  self->shown, field, (const void *)address);
    else if (len == -2)
        ss_refuse(self, refusal, "%s: slipstream_plugin::%s is longer than %d bytes", self->shown,
                  field, SLIPSTREAM_NAME_MAX);
    else
        ss_refuse(self, refusal, "%s: slipstream_plugin::%s is \"%.*s\"", self->shown, field, len,
                  out);
    ss_advise(self, "%s", rule);
    out[0] = '\0';
    return false;
}

static bool check_table(ss_instance *self, const slipstream_plugin *table) {
    static const char *const functions[] = {"destroy",      "on_load", "on_unload",
                                            "subscribed_events", "on_broadcast", "flush",
                                            "get_extension"};
    enum { FUNCTIONS = sizeof functions / sizeof functions[0] };
    uint32_t size = 0;
    slipstream_plugin copy;
    memset(&copy, 0, sizeof copy);
    if (!ss_peek_read(table, &size, sizeof size)) {
        ss_refuse(self, SS_REFUSED_TABLE_UNREADABLE,
                  "%s: the constructor returned %p, which is not readable memory", self->shown,
                  (const void *)table);
        ss_advise(self, "return a table that lives until destroy has returned");
        return false;
    }
    if (size < sizeof copy) {
        ss_refuse(self, SS_REFUSED_TABLE_TOO_SMALL,
                  "%s: the plugin's table is %u bytes, the smallest of ABI 1.0 is %zu", self->shown,
                  (unsigned)size, sizeof copy);
        ss_advise(self, "set struct_size to sizeof(slipstream_plugin)");
        return false;
    }
    if (!ss_peek_read(table, &copy, sizeof copy)) {
        ss_refuse(self, SS_REFUSED_TABLE_UNREADABLE,
                  "%s: the plugin's table at %p says that it is %u bytes, but ends before",
                  self->shown, (const void *)table, (unsigned)size);
        ss_advise(self, "set struct_size to sizeof(slipstream_plugin)");
        return false;
    }
    if (copy.destroy == NULL) {
        ss_refuse(self, SS_REFUSED_FUNCTION_MISSING, "%s: slipstream_plugin::destroy is NULL",
                  self->shown);
        ss_advise(self, "destroy is required; give it a function that frees the instance");
        return false;
    }
    uintptr_t addresses[FUNCTIONS];
    memcpy(addresses, (const char *)&copy + offsetof(slipstream_plugin, destroy), sizeof addresses);
    const int bad = ss_peek_executable(addresses, FUNCTIONS);
    if (bad >= 0) {
        ss_refuse(self, SS_REFUSED_FUNCTION_INVALID,
                  "%s: slipstream_plugin::%s is %p, which is not executable memory", self->shown,
                  functions[bad], (void *)addresses[bad]);
        ss_advise(self, "set every unused function to NULL, the others to functions");
        return false;
    }
    self->table = copy;
    self->destroyable = true;
    if (copy.min_host_minor > SLIPSTREAM_ABI_MINOR) {
        ss_refuse(self, SS_REFUSED_HOST_TOO_OLD,
                  "%s needs a host of ABI %d.%u or newer, this one is %d.%d", self->shown,
                  SLIPSTREAM_ABI_MAJOR, (unsigned)copy.min_host_minor, SLIPSTREAM_ABI_MAJOR,
                  SLIPSTREAM_ABI_MINOR);
        ss_advise(self, "install a newer slipstream, or an older build of the plugin");
        return false;
    }
    if (!check_text(self, SS_REFUSED_NAME_INVALID, "name",
                    "a name is 1 to 63 of a-z, 0-9, '.', '_' and '-', and starts with a letter or "
                    "a digit",
                    copy.name, self->name, is_name) ||
        !check_text(self, SS_REFUSED_VERSION_INVALID, "version",
                    "a version is 1 to 63 printable ASCII characters", copy.version, self->version,
                    is_printable))
        return false;
    if ((copy.flags & SLIPSTREAM_FLAG_EXPLICIT_ACK) != 0 && copy.flush == NULL) {
        ss_refuse(self, SS_REFUSED_FLUSH_MISSING,
                  "%s: slipstream_plugin::flush is NULL, but the plugin has the flag EXPLICIT_ACK",
                  self->shown);
        ss_advise(self, "give it a flush, or drop the flag");
        return false;
    }
    atomic_store_explicit(&self->host.explicit_ack,
                          (copy.flags & SLIPSTREAM_FLAG_EXPLICIT_ACK) != 0, memory_order_relaxed);
    return true;
}

/* ---- Opening and closing ------------------------------------------------------------ */

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

void ss_library_watch_exit(void) {
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, watch_exit);
}

void ss_library_open(ss_instance *self) {
    const slipstream_plugin *(SLIPSTREAM_CALL * create)(const slipstream_host *);
    if (!check_file(self))
        return;
    ss_peek_threads(&self->before);
    atomic_fetch_add(&in_loader, 1);
    self->handle = dlopen(self->path, RTLD_NOW | RTLD_LOCAL);
    atomic_fetch_sub(&in_loader, 1);
    if (self->handle == NULL) {
        const char *why = dlerror();
        const size_t prefix = strlen(self->path);
        if (why != NULL && strncmp(why, self->path, prefix) == 0 && why[prefix] == ':')
            why += prefix + 2;
        ss_refuse(self, SS_REFUSED_CANNOT_OPEN, "cannot open %s: %s", self->shown,
                  why == NULL ? "unknown reason" : why);
        ss_advise(self, "see which library or symbol is missing: ldd -r %s", self->shown);
        return;
    }
    void *symbol = dlsym(self->handle, SLIPSTREAM_CONSTRUCTOR);
    if (symbol == NULL) {
        ss_refuse(self, SS_REFUSED_NO_CONSTRUCTOR, "%s does not export %s", self->shown,
                  SLIPSTREAM_CONSTRUCTOR);
        ss_advise(self, "declare it with SLIPSTREAM_EXPORT and look at nm -D %s", self->shown);
        return;
    }
    const uintptr_t address = (uintptr_t)symbol;
    if (ss_peek_executable(&address, 1) >= 0) {
        ss_refuse(self, SS_REFUSED_NO_CONSTRUCTOR,
                  "%s exports %s as a function, but it lies in memory that cannot be executed",
                  self->shown, SLIPSTREAM_CONSTRUCTOR);
        ss_advise(self, "define it as in slipstream.h, as a function that returns the table");
        return;
    }
    memcpy(&create, &symbol, sizeof create);
    ss_instance_enter(self);
    const slipstream_plugin *table = create(&self->host.table);
    ss_host_leave(&self->host);
    if (table == NULL) {
        char own[SS_TEXT_ROOM];
        const size_t len = ss_host_error(&self->host, own, sizeof own);
        ss_refuse(self, SS_REFUSED_CONSTRUCTOR_REFUSED, "%s refused to be created: %s", self->shown,
                  len > 0 ? own : "it returned NULL and gave no reason");
        ss_advise(self, "the plugin's own documentation knows more");
        return;
    }
    if (check_table(self, table))
        ss_instance_set_life(self, SS_CONSTRUCTED);
}

uint32_t ss_library_close(ss_instance *self) {
    void *handle = self->handle;
    self->handle = NULL;
    if (handle == NULL)
        return SS_MAPPING_NONE;
    if ((self->table.flags & SLIPSTREAM_FLAG_RESIDENT) != 0)
        return SS_MAPPING_RESIDENT;
    if (self->file.is_go)
        return SS_MAPPING_GO;
    if (ss_peek_thread_of(self->path, self->comm, &self->before))
        return SS_MAPPING_THREADS;
    atomic_fetch_add(&in_loader, 1);
    dlclose(handle);
    atomic_fetch_sub(&in_loader, 1);
    return ss_peek_mapped(self->path) ? SS_MAPPING_PINNED : SS_MAPPING_GONE;
}
