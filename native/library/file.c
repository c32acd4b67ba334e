#include "library/file.h"

#include "library/elf.h"
#include "library/macho.h"
#include "library/pe.h"
#include "platform/platform.h"

#include <errno.h>
#include <string.h>

/* Formats that are told apart by their first bytes. */
static const struct {
    const char *bytes;
    size_t len;
    uint32_t kind;
    void (*look)(const ss_source *, ss_file *);
} marks[] = {
    {"\177ELF", 4, SS_FILE_DAMAGED, ss_elf_look},
    {"\xFE\xED\xFA\xCE", 4, SS_FILE_MACH_O, NULL},
    {"\xFE\xED\xFA\xCF", 4, SS_FILE_MACH_O, NULL},
    {"\xCE\xFA\xED\xFE", 4, SS_FILE_MACH_O, ss_macho_look},
    {"\xCF\xFA\xED\xFE", 4, SS_FILE_MACH_O, ss_macho_look},
    {"\xCA\xFE\xBA\xBE", 4, SS_FILE_MACH_O, ss_macho_look},
    {"\xCA\xFE\xBA\xBF", 4, SS_FILE_MACH_O, ss_macho_look},
    {"MZ", 2, SS_FILE_PE, ss_pe_look},
    {"!<arch>\n", 8, SS_FILE_ARCHIVE, NULL},
    {"!<thin>\n", 8, SS_FILE_ARCHIVE, NULL},
};

void ss_file_look(const ss_source *source, ss_file *out) {
    char start[8] = {0};
    const size_t len = source->len < sizeof start ? (size_t)source->len : sizeof start;
    memset(out, 0, sizeof *out);
    out->machine_name = "";
    out->kind = source->len == 0 ? SS_FILE_EMPTY : SS_FILE_OTHER;
    if (!ss_source_get(source, 0, start, len))
        return;
    for (size_t i = 0; i < sizeof marks / sizeof marks[0]; i++)
        if (len >= marks[i].len && memcmp(start, marks[i].bytes, marks[i].len) == 0) {
            out->kind = marks[i].kind;
            if (marks[i].look != NULL)
                marks[i].look(source, out);
            return;
        }
}

/* ---- Is it a plugin? ------------------------------------------------------------------ */

bool ss_file_read(const char *path, const char *shown, ss_file *out, char *info, ss_refusal *why) {
    size_t len = 0;
    const int fd = ss_os_file_open(path, &len);
    if (fd < 0) {
        if (errno == EMFILE || errno == ENFILE) {
            ss_refuse(why, SS_REFUSED_CANNOT_OPEN, "cannot read %s: too many open files", shown);
            return ss_advise(why, "raise the limit on open files: ulimit -n");
        }
        ss_refuse(why, SS_REFUSED_CANNOT_OPEN, "cannot read %s: %s", shown,
                  errno == 0 ? "it is not a regular file" : strerror(errno));
        return ss_advise(why, "check the path and its permissions: " SS_OS_LIST_FILE " %s", shown);
    }
    const ss_source source = {.fd = fd, .len = len};
    ss_file_look(&source, out);
    if (info != NULL && out->info == SS_INFO_THERE &&
        !ss_source_get(&source, out->info_at, info, out->info_len))
        out->info = SS_INFO_OUTSIDE; /* it was cut short meanwhile */
    ss_os_file_close(fd);
    return true;
}

/* The kind of this system's libraries. */
enum {
    OWN_KIND = SS_OS_FORMAT == SS_OS_PE       ? SS_FILE_PE
               : SS_OS_FORMAT == SS_OS_MACH_O ? SS_FILE_MACH_O
                                              : SS_FILE_ELF
};

static bool check_machine(const char *shown, const ss_file *found, ss_refusal *why) {
    const uint32_t own = ss_elf_own_machine();
    const char *own_name = ss_elf_machine_name(own);
    if (OWN_KIND == SS_FILE_ELF) {
        if (found->kind == SS_FILE_ELF)
            return true;
        ss_refuse(why, SS_REFUSED_WRONG_ARCHITECTURE,
                  "%s is built for %s (machine %u, %u bit), this host is %s (machine %u, %u bit)",
                  shown, ss_elf_machine_name(found->machine), (unsigned)found->machine,
                  (unsigned)found->bits, own_name, (unsigned)own, (unsigned)(8 * sizeof(void *)));
        return ss_advise(why, "use the plugin's build for %s", own_name);
    }
    if (strcmp(found->machine_name, own_name) == 0 && found->bits == 8 * sizeof(void *))
        return true;
    ss_refuse(why, SS_REFUSED_WRONG_ARCHITECTURE, "%s is built for %s (%u bit), this host is %s",
              shown, found->machine_name, (unsigned)found->bits, own_name);
    return ss_advise(why, "use the plugin's build for %s", own_name);
}

bool ss_file_check_kind(const char *shown, const ss_file *found, ss_refusal *why) {
    static const char own_build[] = "use the plugin's build for " SS_OS_SYSTEM;
    static const struct {
        const char *text;
        const char *hint;
    } kinds[] = {
        [SS_FILE_ELF] = {"is a Linux library (ELF)", own_build},
        [SS_FILE_EMPTY] = {"is an empty file",
                           "build it again; an interrupted build or copy leaves such a file"},
        [SS_FILE_OTHER] = {"is not a shared library", "libpath has to name the compiled plugin "
                                                      "(" SS_OS_SUFFIX "), not its source"},
        [SS_FILE_MACH_O] = {"is a macOS library (Mach-O)", own_build},
        [SS_FILE_PE] = {"is a Windows library (PE)", own_build},
        [SS_FILE_ARCHIVE] = {"is a static library (.a)", "link it as a shared library: cc -shared"},
        [SS_FILE_DAMAGED] = {"is a damaged ELF file: it ends too early, or contradicts itself",
                             "build or copy it again and compare the sizes"},
        [SS_FILE_OBJECT] = {"is an object file (.o)", "link it: cc -shared -o plugin.so plugin.o"},
        [SS_FILE_PROGRAM] = {"is a program, not a shared library",
                             "link it with -shared, and without -pie"},
        [SS_FILE_FOREIGN] = {"is a Linux library (ELF)", own_build},
    };
    const bool is_own = found->kind == OWN_KIND ||
                        (OWN_KIND == SS_FILE_ELF && found->kind == SS_FILE_FOREIGN);
    if (is_own && found->exports == SS_EXPORTS_DAMAGED)
        return true; /* said by who looks at them */
    if (is_own && !found->is_program)
        return check_machine(shown, found, why);
    const uint32_t kind = is_own ? SS_FILE_PROGRAM : found->kind;
    ss_refuse(why, SS_REFUSED_NOT_A_LIBRARY, "%s %s", shown, kinds[kind].text);
    return ss_advise(why, "%s", kinds[kind].hint);
}

static bool check_info(const char *shown, const ss_file *found, ss_refusal *why) {
    static const struct {
        uint32_t refusal;
        const char *text;
        const char *hint;
    } troubles[] = {
        [SS_INFO_NOT_DATA] = {SS_REFUSED_INFO_MISPLACED, "is exported, but not as data",
                              "write it with SLIPSTREAM_INFO, or as a constant array of bytes"},
        [SS_INFO_OUTSIDE] = {SS_REFUSED_INFO_MISPLACED, "is outside of what the file holds",
                             "give it its text where it is defined, and link again"},
        [SS_INFO_WRITABLE] = {SS_REFUSED_INFO_MISPLACED, "is in a section that can be written to",
                              "make it a constant array of bytes, not a pointer to a text"},
        [SS_INFO_NO_MAGIC] = {SS_REFUSED_INFO_UNREADABLE,
                              "does not begin with SLIPSTREAM_INFO_MAGIC (SLIPINFO1, a line end)",
                              "write it with SLIPSTREAM_INFO, or begin it so"},
        [SS_INFO_TOO_LONG] = {SS_REFUSED_INFO_UNREADABLE,
                              "is longer than SLIPSTREAM_INFO_MAX (65536 bytes)",
                              "shorten it; longer texts go behind its \"url\""},
        [SS_INFO_NOT_ENDED] = {SS_REFUSED_INFO_UNREADABLE, "has no NUL at its end",
                               "write it with SLIPSTREAM_INFO, or end it with a NUL"},
    };
    if (found->info <= SS_INFO_THERE)
        return true;
    ss_refuse(why, troubles[found->info].refusal, "%s: %s %s", shown, SLIPSTREAM_INFO_SYMBOL,
              troubles[found->info].text);
    return ss_advise(why, "%s", troubles[found->info].hint);
}

bool ss_file_check_exports(const char *shown, const ss_file *found, ss_refusal *why) {
    if (found->exports != SS_EXPORTS_READ) {
        const bool damaged = found->exports == SS_EXPORTS_DAMAGED;
        ss_refuse(why, SS_REFUSED_NOT_A_LIBRARY, "%s: %s", shown,
                  damaged ? "the file ends too early, or contradicts itself"
                          : "what a library for this machine exports is not read here");
        return ss_advise(why, damaged ? "build or copy it again and compare the sizes"
                                      : "look at it on a machine of that kind");
    }
    if (found->has_constructor && found->constructor_is_function)
        return check_info(shown, found, why);
    if (found->has_constructor) {
        ss_refuse(why, SS_REFUSED_NO_CONSTRUCTOR, "%s exports %s, but not as a function", shown,
                  SLIPSTREAM_CONSTRUCTOR);
        return ss_advise(why, "define it as in slipstream.h, as a function that returns the table");
    }
    if (found->other_major != 0) {
        ss_refuse(why, SS_REFUSED_WRONG_ABI_MAJOR,
                  "%s is a plugin for ABI major %u, this host speaks major %d", shown,
                  (unsigned)found->other_major, SLIPSTREAM_ABI_MAJOR);
        return ss_advise(why, "use a build of the plugin for major %d, or a host for major %u",
                         SLIPSTREAM_ABI_MAJOR, (unsigned)found->other_major);
    }
    if (found->has_rust_constructor) {
        ss_refuse(why, SS_REFUSED_RUST_ABI_PLUGIN,
                  "%s exports _create_plugin: it is a Rust-ABI plugin of snarkVM or Geyser, whose "
                  "layout only the compiler that built it knows",
                  shown);
        return ss_advise(why, "give it %s, as docs/porting.md shows; the plugin's functions can stay",
                         SLIPSTREAM_CONSTRUCTOR);
    }
    ss_refuse(why, SS_REFUSED_NO_CONSTRUCTOR, "%s is a library, but does not export %s", shown,
              SLIPSTREAM_CONSTRUCTOR);
    return ss_advise(why, "declare it with SLIPSTREAM_EXPORT and look at " SS_OS_LIST_EXPORTS " %s",
                     shown);
}

bool ss_file_check(const char *path, const char *shown, ss_file *out, ss_refusal *why) {
    return ss_file_read(path, shown, out, NULL, why) && ss_file_check_kind(shown, out, why) &&
           ss_file_check_exports(shown, out, why);
}

/* ---- Which build is it? --------------------------------------------------------------- */

void ss_file_build_id(const char *path, char *out, size_t room) {
    size_t len;
    out[0] = '\0';
    const int fd = path[0] == '/' ? ss_os_file_open(path, &len) : -1;
    if (fd < 0)
        return;
    ss_elf_build_id(fd, len, out, room);
    ss_os_file_close(fd);
}
