#include "loader.h"

#include "elf_file.h"
#include "lock.h"
#include "probe.h"
#include "text.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

typedef enum step {
    STEP_NONE,
    STEP_OPEN,
    STEP_LOAD,
    STEP_DELIVER,
    STEP_FLUSH,
    STEP_UNLOAD,
    STEP_CALL,
    STEP_CLOSE
} step;

enum { TEXT_ROOM = 2 * SLIPSTREAM_ERROR_MAX, CLAIMS_MAX = 1024, CLAIM_ROOM = 256 };

struct ss_instance {
    ss_host host;
    slipstream_plugin table; /* checked copy */
    bool destroyable;        /* destroy was checked and not called yet */
    char *path;
    char *shown;
    void *handle;
    ss_elf file;
    ss_threads before;
    char comm[16];
    char name[SLIPSTREAM_NAME_MAX + 1];
    char version[SLIPSTREAM_NAME_MAX + 1];
    uint64_t kinds;
    char **claims; /* NULL-terminated */

    /* The step that the instance's thread is to run; guarded by `lock`. */
    pthread_mutex_t lock;
    pthread_cond_t changed;
    step step;
    pthread_t thread;
    pthread_t closer;
    bool has_closer;
    bool abandoned;

    /* Arguments and results of a step. */
    void (*call)(void *);
    void *call_context;
    char *config;
    size_t config_len;
    uint32_t reason;
    uint32_t timeout_ms;
    slipstream_delivery delivery;
    uint8_t *frames;
    size_t frames_len;
    uint32_t refusal;
    int32_t status;
    uint32_t mapping;
    char text[TEXT_ROOM];
    char hint[512];
};

/* ---- Refusals -------------------------------------------------------------------- */

static void say(char *out, size_t room, const char *format, va_list args) {
    char raw[TEXT_ROOM];
    const int n = vsnprintf(raw, sizeof raw, format, args);
    ss_text_escape(out, room, raw, n < 0 ? 0 : (size_t)n < sizeof raw ? (size_t)n : sizeof raw - 1);
}

__attribute__((format(printf, 3, 4))) static void refuse(ss_instance *self, uint32_t refusal,
                                                         const char *format, ...) {
    va_list args;
    va_start(args, format);
    say(self->text, sizeof self->text, format, args);
    va_end(args);
    self->refusal = refusal;
    self->hint[0] = '\0';
}

__attribute__((format(printf, 2, 3))) static void advise(ss_instance *self, const char *format,
                                                         ...) {
    va_list args;
    va_start(args, format);
    say(self->hint, sizeof self->hint, format, args);
    va_end(args);
}

/* ---- Calls into the library, all on the instance's own thread ---------------------- */

static void enter(ss_instance *self) {
    ss_host_enter(&self->host, ss_self());
}

static void set_life(ss_instance *self, uint32_t life) {
    atomic_store_explicit(&self->host.life, life, memory_order_release);
}

/* After a call that failed: its status and the plugin's own text. */
static void keep_error(ss_instance *self, const char *function, int32_t status) {
    char own[TEXT_ROOM];
    self->status = status;
    if (ss_host_error(&self->host, own, sizeof own) > 0)
        snprintf(self->text, sizeof self->text, "%s", own);
    else
        snprintf(self->text, sizeof self->text, "%s returned %s (%d) and gave no text", function,
                 ss_status_name(status), (int)status);
    self->hint[0] = '\0';
}

static bool check_file(ss_instance *self) {
    struct stat info;
    const int fd = open(self->path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0 || fstat(fd, &info) != 0 || !S_ISREG(info.st_mode)) {
        refuse(self, SS_REFUSED_CANNOT_OPEN, "cannot read %s: %s", self->shown,
               fd < 0 ? strerror(errno) : "it is not a regular file");
        advise(self, "check the path and its permissions: ls -l %s", self->shown);
        if (fd >= 0)
            close(fd);
        return false;
    }
    const size_t len = (size_t)info.st_size;
    void *file = len == 0 ? NULL : mmap(NULL, len, PROT_READ, MAP_PRIVATE, fd, 0);
    close(fd);
    if (file == MAP_FAILED) {
        refuse(self, SS_REFUSED_CANNOT_OPEN, "cannot read %s: %s", self->shown, strerror(errno));
        return false;
    }
    ss_elf_look(file, len, &self->file);
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
    const ss_elf *found = &self->file;
    if (found->kind == SS_FILE_FOREIGN) {
        refuse(self, SS_REFUSED_WRONG_ARCHITECTURE,
               "%s is built for %s (machine %u, %u bit), this host is %s (machine %u, %u bit)",
               self->shown, ss_elf_machine_name(found->machine), (unsigned)found->machine,
               (unsigned)found->bits, ss_elf_machine_name(ss_elf_own_machine()),
               (unsigned)ss_elf_own_machine(), (unsigned)(8 * sizeof(void *)));
        advise(self, "use the plugin's build for %s", ss_elf_machine_name(ss_elf_own_machine()));
        return false;
    }
    if (found->kind != SS_FILE_ELF) {
        refuse(self, SS_REFUSED_NOT_A_LIBRARY, "%s %s", self->shown, texts[found->kind]);
        advise(self, "%s", hints[found->kind]);
        return false;
    }
    if (found->has_constructor && found->constructor_is_function)
        return true;
    if (found->has_constructor) {
        refuse(self, SS_REFUSED_NO_CONSTRUCTOR, "%s exports %s, but not as a function", self->shown,
               SLIPSTREAM_CONSTRUCTOR);
        advise(self, "define it as in slipstream.h, as a function that returns the table");
    } else if (found->other_major != 0) {
        refuse(self, SS_REFUSED_WRONG_ABI_MAJOR,
               "%s is a plugin for ABI major %u, this host speaks major %d", self->shown,
               (unsigned)found->other_major, SLIPSTREAM_ABI_MAJOR);
        advise(self, "use a build of the plugin for major %d, or a host for major %u",
               SLIPSTREAM_ABI_MAJOR, (unsigned)found->other_major);
    } else if (found->has_rust_constructor) {
        refuse(self, SS_REFUSED_RUST_ABI_PLUGIN,
               "%s exports _create_plugin: it is a Rust-ABI plugin of snarkVM or Geyser, whose "
               "layout only the compiler that built it knows",
               self->shown);
        advise(self, "export %s from it, with the Rust adapter or by hand (slipstream.h)",
               SLIPSTREAM_CONSTRUCTOR);
    } else {
        refuse(self, SS_REFUSED_NO_CONSTRUCTOR, "%s is a library, but does not export %s",
               self->shown, SLIPSTREAM_CONSTRUCTOR);
        advise(self, "declare it with SLIPSTREAM_EXPORT and look at nm -D %s", self->shown);
    }
    return false;
}

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
    const int len = ss_probe_text(address, out, SLIPSTREAM_NAME_MAX + 1);
    if (len >= 0 && ok(out, (size_t)len))
        return true;
    if (address == NULL)
        refuse(self, refusal, "%s: slipstream_plugin::%s is NULL", self->shown, field);
    else if (len == -1)
        refuse(self, refusal, "%s: slipstream_plugin::%s points to memory that cannot be read (%p)",
               self->shown, field, (const void *)address);
    else if (len == -2)
        refuse(self, refusal, "%s: slipstream_plugin::%s is longer than %d bytes", self->shown,
               field, SLIPSTREAM_NAME_MAX);
    else
        refuse(self, refusal, "%s: slipstream_plugin::%s is \"%.*s\"", self->shown, field, len, out);
    advise(self, "%s", rule);
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
    if (!ss_probe_read(table, &size, sizeof size)) {
        refuse(self, SS_REFUSED_TABLE_UNREADABLE,
               "%s: the constructor returned %p, which is not readable memory", self->shown,
               (const void *)table);
        advise(self, "return a table that lives until destroy has returned");
        return false;
    }
    if (size < sizeof copy) {
        refuse(self, SS_REFUSED_TABLE_TOO_SMALL,
               "%s: the plugin's table is %u bytes, the smallest of ABI 1.0 is %zu", self->shown,
               (unsigned)size, sizeof copy);
        advise(self, "set struct_size to sizeof(slipstream_plugin)");
        return false;
    }
    if (!ss_probe_read(table, &copy, sizeof copy)) {
        refuse(self, SS_REFUSED_TABLE_UNREADABLE,
               "%s: the plugin's table at %p says that it is %u bytes, but ends before", self->shown,
               (const void *)table, (unsigned)size);
        advise(self, "set struct_size to sizeof(slipstream_plugin)");
        return false;
    }
    if (copy.destroy == NULL) {
        refuse(self, SS_REFUSED_FUNCTION_MISSING, "%s: slipstream_plugin::destroy is NULL",
               self->shown);
        advise(self, "destroy is required; give it a function that frees the instance");
        return false;
    }
    uintptr_t addresses[FUNCTIONS];
    memcpy(addresses, (const char *)&copy + offsetof(slipstream_plugin, destroy), sizeof addresses);
    const int bad = ss_probe_executable(addresses, FUNCTIONS);
    if (bad >= 0) {
        refuse(self, SS_REFUSED_FUNCTION_INVALID,
               "%s: slipstream_plugin::%s is %p, which is not executable memory", self->shown,
               functions[bad], (void *)addresses[bad]);
        advise(self, "set every unused function to NULL, the others to functions");
        return false;
    }
    self->table = copy;
    self->destroyable = true;
    if (copy.min_host_minor > SLIPSTREAM_ABI_MINOR) {
        refuse(self, SS_REFUSED_HOST_TOO_OLD,
               "%s needs a host of ABI %d.%u or newer, this one is %d.%d", self->shown,
               SLIPSTREAM_ABI_MAJOR, (unsigned)copy.min_host_minor, SLIPSTREAM_ABI_MAJOR,
               SLIPSTREAM_ABI_MINOR);
        advise(self, "install a newer slipstream, or an older build of the plugin");
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
        refuse(self, SS_REFUSED_FLUSH_MISSING,
               "%s: slipstream_plugin::flush is NULL, but the plugin has the flag EXPLICIT_ACK",
               self->shown);
        advise(self, "give it a flush, or drop the flag");
        return false;
    }
    atomic_store_explicit(&self->host.explicit_ack,
                          (copy.flags & SLIPSTREAM_FLAG_EXPLICIT_ACK) != 0, memory_order_relaxed);
    return true;
}

/* Calls of the loader under way. A library whose constructor or destructor hangs keeps the
 * loader's lock, for which exit() would wait for ever. */
static _Atomic int in_loader;
static pthread_once_t watch_exit_once = PTHREAD_ONCE_INIT;

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

static void run_open(ss_instance *self) {
    const slipstream_plugin *(SLIPSTREAM_CALL * create)(const slipstream_host *);
    if (!check_file(self))
        return;
    ss_probe_threads(&self->before);
    atomic_fetch_add(&in_loader, 1);
    self->handle = dlopen(self->path, RTLD_NOW | RTLD_LOCAL);
    atomic_fetch_sub(&in_loader, 1);
    if (self->handle == NULL) {
        const char *why = dlerror();
        const size_t prefix = strlen(self->path);
        if (why != NULL && strncmp(why, self->path, prefix) == 0 && why[prefix] == ':')
            why += prefix + 2;
        refuse(self, SS_REFUSED_CANNOT_OPEN, "cannot open %s: %s", self->shown,
               why == NULL ? "unknown reason" : why);
        advise(self, "see which library or symbol is missing: ldd -r %s", self->shown);
        return;
    }
    void *symbol = dlsym(self->handle, SLIPSTREAM_CONSTRUCTOR);
    if (symbol == NULL) {
        refuse(self, SS_REFUSED_NO_CONSTRUCTOR, "%s does not export %s", self->shown,
               SLIPSTREAM_CONSTRUCTOR);
        advise(self, "declare it with SLIPSTREAM_EXPORT and look at nm -D %s", self->shown);
        return;
    }
    const uintptr_t address = (uintptr_t)symbol;
    if (ss_probe_executable(&address, 1) >= 0) {
        refuse(self, SS_REFUSED_NO_CONSTRUCTOR,
               "%s exports %s as a function, but it lies in memory that cannot be executed",
               self->shown, SLIPSTREAM_CONSTRUCTOR);
        advise(self, "define it as in slipstream.h, as a function that returns the table");
        return;
    }
    memcpy(&create, &symbol, sizeof create);
    enter(self);
    const slipstream_plugin *table = create(&self->host.table);
    ss_host_leave(&self->host);
    if (table == NULL) {
        char own[TEXT_ROOM];
        const size_t len = ss_host_error(&self->host, own, sizeof own);
        refuse(self, SS_REFUSED_CONSTRUCTOR_REFUSED, "%s refused to be created: %s", self->shown,
               len > 0 ? own : "it returned NULL and gave no reason");
        advise(self, "the plugin's own documentation knows more");
        return;
    }
    if (check_table(self, table))
        set_life(self, SS_CONSTRUCTED);
}

static void free_claims(ss_instance *self) {
    for (char **claim = self->claims; claim != NULL && *claim != NULL; claim++)
        free(*claim);
    free(self->claims);
    self->claims = NULL;
}

/* Copies the names that the plugin claims by slipstream.payload/1. */
static void read_claims(ss_instance *self) {
    slipstream_payload_v1 payload;
    char name[CLAIM_ROOM];
    if (self->table.get_extension == NULL)
        return;
    enter(self);
    const void *table = self->table.get_extension(self->table.instance, SLIPSTREAM_EXT_PAYLOAD);
    uintptr_t name_at = 0;
    const bool readable = table != NULL && ss_probe_read(table, &payload, sizeof payload) &&
                          payload.struct_size >= sizeof payload && payload.name_at != NULL;
    if (readable)
        memcpy(&name_at, &payload.name_at, sizeof name_at);
    if (readable && ss_probe_executable(&name_at, 1) < 0)
        self->claims = calloc(CLAIMS_MAX + 1, sizeof *self->claims);
    else if (table != NULL)
        ss_logq_format(self->host.log, SLIPSTREAM_LOG_PLUGIN_MISBEHAVING, self->host.source,
                       "its table of %s is too small, unreadable or has no name_at; nothing is "
                       "routed to it",
                       SLIPSTREAM_EXT_PAYLOAD);
    for (uint32_t i = 0; self->claims != NULL && i < CLAIMS_MAX; i++) {
        const char *claim = payload.name_at(self->table.instance, i);
        if (claim == NULL)
            break;
        if (ss_probe_text(claim, name, sizeof name) <= 0) {
            ss_logq_format(self->host.log, SLIPSTREAM_LOG_PLUGIN_MISBEHAVING, self->host.source,
                           "payload name %u is empty, unreadable or longer than %d bytes; it and "
                           "those behind it are not routed",
                           (unsigned)i, CLAIM_ROOM - 1);
            break;
        }
        self->claims[i] = strdup(name);
        if (self->claims[i] == NULL)
            break;
    }
    ss_host_leave(&self->host);
}

static int32_t call_on_unload(ss_instance *self) {
    int32_t status = SLIPSTREAM_OK;
    set_life(self, SS_UNLOADING);
    atomic_store_explicit(&self->host.stopping, 1, memory_order_relaxed);
    if (self->table.on_unload != NULL) {
        enter(self);
        status = self->table.on_unload(self->table.instance, self->timeout_ms);
        ss_host_leave(&self->host);
    }
    set_life(self, SS_UNLOADED);
    if (status != SLIPSTREAM_OK)
        keep_error(self, "on_unload", status);
    return status;
}

static void run_load(ss_instance *self) {
    self->status = SLIPSTREAM_OK;
    if (atomic_load(&self->host.life) != SS_CONSTRUCTED) {
        self->status = SLIPSTREAM_WRONG_STATE;
        snprintf(self->text, sizeof self->text, "on_load was asked for in a wrong state");
        return;
    }
    self->host.config = self->config;
    self->host.config_len = self->config_len;
    set_life(self, SS_LOADING);
    if (self->table.on_load != NULL) {
        enter(self);
        const int32_t status = self->table.on_load(self->table.instance, self->config,
                                                   self->config_len, self->reason);
        ss_host_leave(&self->host);
        if (status != SLIPSTREAM_OK)
            keep_error(self, "on_load", status);
    }
    set_life(self, self->status == SLIPSTREAM_OK ? SS_LOADED : SS_UNLOADED);
    self->host.config = NULL;
    explicit_bzero(self->config, self->config_len); /* it holds secrets in clear */
    if (self->status != SLIPSTREAM_OK)
        return;
    if (self->table.subscribed_events != NULL) {
        enter(self);
        self->kinds = self->table.subscribed_events(self->table.instance);
        ss_host_leave(&self->host);
    }
    if (self->kinds != 0)
        self->kinds |= SLIPSTREAM_KIND_BIT(SLIPSTREAM_KIND_GAP);
    read_claims(self);
    const bool claims = self->claims != NULL && self->claims[0] != NULL;
    if ((self->kinds != 0 || claims) && self->table.on_broadcast == NULL) {
        call_on_unload(self);
        refuse(self, SS_REFUSED_BROADCAST_MISSING,
               "%s %s, but slipstream_plugin::on_broadcast is NULL", self->shown,
               claims ? "claims payloads" : "subscribes to events");
        advise(self, "give it an on_broadcast, or subscribe to nothing");
    }
}

static void run_deliver(ss_instance *self) {
    self->status = SLIPSTREAM_WRONG_STATE;
    if (self->table.on_broadcast == NULL || atomic_load(&self->host.life) != SS_LOADED) {
        snprintf(self->text, sizeof self->text, "it is not loaded, or subscribes to nothing");
        return;
    }
    atomic_store_explicit(&self->host.delivered,
                          self->delivery.first_ordinal + self->delivery.count - 1,
                          memory_order_release);
    enter(self);
    self->status = self->table.on_broadcast(self->table.instance, &self->delivery, self->frames,
                                            self->frames_len);
    ss_host_leave(&self->host);
    if (self->status != SLIPSTREAM_OK)
        keep_error(self, "on_broadcast", self->status);
    if (self->status == SLIPSTREAM_PANIC)
        set_life(self, SS_UNLOADED); /* nothing but destroy may follow */
}

static void run_flush(ss_instance *self) {
    self->status = SLIPSTREAM_OK;
    if (self->table.flush == NULL || atomic_load(&self->host.life) != SS_LOADED)
        return;
    const uint64_t delivered = atomic_load_explicit(&self->host.delivered, memory_order_relaxed);
    enter(self);
    const int32_t status = self->table.flush(self->table.instance, self->timeout_ms);
    ss_host_leave(&self->host);
    if (status == SLIPSTREAM_OK)
        ss_host_raise_acked(&self->host, delivered);
    else
        keep_error(self, "flush", status);
}

static void run_unload(ss_instance *self) {
    self->status = SLIPSTREAM_OK;
    if (atomic_load(&self->host.life) == SS_LOADED)
        call_on_unload(self);
}

static void run_destroy(ss_instance *self) {
    if (!self->destroyable)
        return;
    self->destroyable = false;
    enter(self);
    self->table.destroy(self->table.instance);
    ss_host_leave(&self->host);
    set_life(self, SS_UNLOADED);
}

/* ---- The instance's thread --------------------------------------------------------- */

/* A thread that starts later may get this stack, and what the library's functions have
 * left there would look as if it came from the library; see ss_probe_thread_of. (Of what is
 * further down, the C library lets go.) */
__attribute__((noinline)) static void scrub_stack(void) {
    char below[32 * 1024];
    explicit_bzero(below, sizeof below);
}

static void *own_thread(void *argument) {
    ss_instance *self = argument;
    pthread_setname_np(pthread_self(), self->comm);
    pthread_mutex_lock(&self->lock);
    for (;;) {
        while (self->step == STEP_NONE)
            pthread_cond_wait(&self->changed, &self->lock);
        const step wanted = self->step;
        pthread_mutex_unlock(&self->lock);
        switch (wanted) {
        case STEP_OPEN:
            run_open(self);
            break;
        case STEP_LOAD:
            run_load(self);
            break;
        case STEP_DELIVER:
            run_deliver(self);
            break;
        case STEP_FLUSH:
            run_flush(self);
            break;
        case STEP_UNLOAD:
            run_unload(self);
            break;
        case STEP_CALL:
            self->call(self->call_context);
            break;
        case STEP_CLOSE:
            run_destroy(self);
            scrub_stack();
            return NULL;
        case STEP_NONE:
            break;
        }
        pthread_mutex_lock(&self->lock);
        if (self->abandoned) {
            pthread_mutex_unlock(&self->lock);
            run_unload(self);
            run_destroy(self);
            scrub_stack();
            return NULL;
        }
        self->step = STEP_NONE;
        pthread_cond_broadcast(&self->changed);
    }
}

static void free_instance(ss_instance *self) {
    if (self->mapping == SS_MAPPING_THREADS)
        return; /* they may still use the host table */
    pthread_cond_destroy(&self->changed);
    pthread_mutex_destroy(&self->lock);
    ss_host_free(&self->host);
    free_claims(self);
    free(self->config);
    free(self->frames);
    free(self->path);
    free(self->shown);
    free(self);
}

/* Joins the instance's thread, so that its thread-local destructors have run, and closes
 * the library; on a thread of its own, because the library's destructors may hang. */
static void *closer_thread(void *argument) {
    ss_instance *self = argument;
    pthread_join(self->thread, NULL);
    if (self->handle == NULL) {
        self->mapping = SS_MAPPING_NONE;
    } else if ((self->table.flags & SLIPSTREAM_FLAG_RESIDENT) != 0) {
        self->mapping = SS_MAPPING_RESIDENT;
    } else if (self->file.is_go) {
        self->mapping = SS_MAPPING_GO;
    } else if (ss_probe_thread_of(self->path, self->comm, &self->before)) {
        self->mapping = SS_MAPPING_THREADS;
    } else {
        atomic_fetch_add(&in_loader, 1);
        dlclose(self->handle);
        atomic_fetch_sub(&in_loader, 1);
        self->mapping = ss_probe_mapped(self->path) ? SS_MAPPING_PINNED : SS_MAPPING_GONE;
    }
    self->handle = NULL;
    pthread_mutex_lock(&self->lock);
    self->step = STEP_NONE;
    pthread_cond_broadcast(&self->changed);
    const bool abandoned = self->abandoned;
    pthread_mutex_unlock(&self->lock);
    if (abandoned)
        free_instance(self);
    return NULL;
}

/* Starts a thread with all signals blocked, since handlers are the host's business, but
 * for those that a fault of the thread itself raises: a crash reporter wants to see them. */
static bool start_thread(pthread_t *thread, void *(*run)(void *), void *argument) {
    static const int faults[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT, SIGTRAP, SIGSYS};
    sigset_t all;
    sigset_t before;
    sigfillset(&all);
    for (size_t i = 0; i < sizeof faults / sizeof faults[0]; i++)
        sigdelset(&all, faults[i]);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    const int error = pthread_create(thread, NULL, run, argument);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return error == 0;
}

static int32_t post(ss_instance *self, step wanted) {
    int32_t status = SLIPSTREAM_WRONG_STATE;
    pthread_mutex_lock(&self->lock);
    if (self->step == STEP_NONE && !self->has_closer) {
        self->step = wanted;
        pthread_cond_broadcast(&self->changed);
        status = SLIPSTREAM_OK;
    }
    pthread_mutex_unlock(&self->lock);
    return status;
}

/* ---- The handle -------------------------------------------------------------------- */

ss_instance *ss_instance_new(ss_logq *log, uint32_t source, const char *path, const char *shown,
                             const char *config_dir) {
    pthread_condattr_t clock;
    pthread_once(&watch_exit_once, watch_exit);
    ss_instance *self = calloc(1, sizeof *self);
    if (self == NULL)
        return NULL;
    if (!ss_host_init(&self->host, log, source, config_dir)) {
        free(self);
        return NULL;
    }
    self->path = strdup(path);
    self->shown = strdup(shown);
    snprintf(self->comm, sizeof self->comm, "slip-%u", (unsigned)source);
    pthread_mutex_init(&self->lock, NULL);
    pthread_condattr_init(&clock);
    pthread_condattr_setclock(&clock, CLOCK_MONOTONIC);
    pthread_cond_init(&self->changed, &clock);
    pthread_condattr_destroy(&clock);
    if (self->path == NULL || self->shown == NULL ||
        !start_thread(&self->thread, own_thread, self)) {
        free_instance(self);
        return NULL;
    }
    return self;
}

void ss_instance_free(ss_instance *self) {
    pthread_join(self->closer, NULL);
    free_instance(self);
}

void ss_instance_abandon(ss_instance *self) {
    pthread_mutex_lock(&self->lock);
    const bool has_closer = self->has_closer;
    const bool closed = has_closer && self->step == STEP_NONE;
    pthread_t closer = self->closer;
    self->abandoned = true;
    ss_instance_stop(self);
    if (!has_closer && self->step == STEP_NONE) { /* the step returned just now */
        self->step = STEP_UNLOAD;
        pthread_cond_broadcast(&self->changed);
    }
    pthread_mutex_unlock(&self->lock);
    if (closed)
        ss_instance_free(self);
    else if (has_closer || start_thread(&closer, closer_thread, self))
        pthread_detach(closer);
}

int32_t ss_instance_open(ss_instance *self) {
    return post(self, STEP_OPEN);
}

int32_t ss_instance_load(ss_instance *self, const char *config, size_t len, uint32_t reason) {
    char *copy = malloc(len + 1);
    if (copy == NULL)
        return SLIPSTREAM_NO_MEMORY;
    if (self->config != NULL) {
        free(copy);
        return SLIPSTREAM_WRONG_STATE;
    }
    memcpy(copy, config, len);
    copy[len] = '\0';
    self->config = copy;
    self->config_len = len;
    self->reason = reason;
    return post(self, STEP_LOAD);
}

int32_t ss_instance_set_data_dir(ss_instance *self, const char *path) {
    char *copy = strdup(path);
    if (copy == NULL)
        return SLIPSTREAM_NO_MEMORY;
    free(self->host.data_dir);
    self->host.data_dir = copy;
    return SLIPSTREAM_OK;
}

int32_t ss_instance_deliver(ss_instance *self, uint32_t attempt, uint32_t count,
                            uint64_t first_ordinal, const uint8_t *frames, size_t len) {
    const slipstream_delivery delivery = {sizeof delivery, attempt, count, 0, first_ordinal};
    uint8_t *copy = malloc(len + 1);
    if (copy == NULL)
        return SLIPSTREAM_NO_MEMORY;
    memcpy(copy, frames, len);
    free(self->frames);
    self->frames = copy;
    self->frames_len = len;
    self->delivery = delivery;
    return post(self, STEP_DELIVER);
}

int32_t ss_instance_call(ss_instance *self, void (*function)(void *), void *context) {
    self->call = function;
    self->call_context = context;
    return post(self, STEP_CALL);
}

int32_t ss_instance_flush(ss_instance *self, uint32_t timeout_ms) {
    self->timeout_ms = timeout_ms;
    return post(self, STEP_FLUSH);
}

int32_t ss_instance_unload(ss_instance *self, uint32_t timeout_ms) {
    self->timeout_ms = timeout_ms;
    return post(self, STEP_UNLOAD);
}

int32_t ss_instance_close(ss_instance *self) {
    int32_t status = SLIPSTREAM_WRONG_STATE;
    pthread_mutex_lock(&self->lock);
    if (self->step == STEP_NONE && !self->has_closer) {
        /* It waits for the instance's thread, which waits for the step. */
        self->has_closer = start_thread(&self->closer, closer_thread, self);
        status = self->has_closer ? SLIPSTREAM_OK : SLIPSTREAM_NO_MEMORY;
    }
    if (status == SLIPSTREAM_OK) {
        self->step = STEP_CLOSE;
        pthread_cond_broadcast(&self->changed);
    }
    pthread_mutex_unlock(&self->lock);
    return status;
}

int32_t ss_instance_wait(ss_instance *self, uint32_t ms) {
    struct timespec end;
    int error = 0;
    clock_gettime(CLOCK_MONOTONIC, &end);
    end.tv_sec += ms / 1000;
    end.tv_nsec += (long)(ms % 1000) * 1000000;
    if (end.tv_nsec >= 1000000000) {
        end.tv_sec++;
        end.tv_nsec -= 1000000000;
    }
    pthread_mutex_lock(&self->lock);
    while (self->step != STEP_NONE && error == 0)
        error = pthread_cond_timedwait(&self->changed, &self->lock, &end);
    const bool done = self->step == STEP_NONE;
    pthread_mutex_unlock(&self->lock);
    return done ? SLIPSTREAM_OK : SLIPSTREAM_TIMEOUT;
}

void ss_instance_stop(ss_instance *self) {
    atomic_store_explicit(&self->host.stopping, 1, memory_order_relaxed);
}

void ss_instance_describe(const ss_instance *self, ss_instance_info *out) {
    memset(out, 0, sizeof *out);
    out->refusal = self->refusal;
    out->status = self->status;
    out->flags = self->table.flags;
    out->abi_minor = self->table.abi_minor;
    out->kinds = self->kinds;
    out->name = self->name;
    out->version = self->version;
    out->text = self->text;
    out->hint = self->hint;
    out->mapping = self->mapping;
    out->is_loaded = atomic_load(&self->host.life) == SS_LOADED;
    out->acknowledged = atomic_load_explicit(&self->host.acked, memory_order_relaxed);
}

const char *ss_instance_claim(const ss_instance *self, uint32_t index) {
    for (uint32_t i = 0; self->claims != NULL && self->claims[i] != NULL; i++)
        if (i == index)
            return self->claims[i];
    return NULL;
}

int32_t ss_instance_metric(const ss_instance *self, uint32_t index, ss_metric *out) {
    const ss_host *host = &self->host;
    if (index >= atomic_load_explicit(&host->series_count, memory_order_acquire))
        return SLIPSTREAM_NOT_FOUND;
    const ss_series *series = &host->series[index];
    const uint64_t bits = atomic_load_explicit(&series->bits, memory_order_relaxed);
    memset(out, 0, sizeof *out);
    out->name = series->name;
    out->label = series->label;
    out->is_gauge = series->is_gauge;
    if (series->is_gauge)
        memcpy(&out->gauge, &bits, sizeof out->gauge);
    else
        out->count = bits;
    return SLIPSTREAM_OK;
}

const slipstream_plugin *ss_instance_table(const ss_instance *self) {
    return &self->table;
}

ss_host *ss_instance_host(ss_instance *self) {
    return &self->host;
}

const char *ss_status_name(int32_t status) {
    static const char *const names[] = {
        "OK",           "FAILED",       "RETRY",     "NOT_FOUND",  "UNSUPPORTED", "INVALID_ARGUMENT",
        "INVALID_CONFIG", "MALFORMED",  "WRONG_STATE", "TOO_LARGE", "OUT_OF_RANGE", "WRONG_TYPE",
        "NO_MEMORY",    "IO",           "TIMEOUT",   "DENIED",     "FATAL",       "PANIC",
    };
    if (status == SLIPSTREAM_END)
        return "END";
    if (status == SLIPSTREAM_IGNORED)
        return "IGNORED";
    if (status > 0 || status <= -(int32_t)(sizeof names / sizeof names[0]))
        return "unknown status";
    return names[-status];
}
