#include "library/file.h"

#include "library/elf.h"
#include "platform/platform.h"

#include <errno.h>
#include <string.h>

/* Formats that are told apart by their first bytes, and not read further. */
static const struct {
    const char *bytes;
    size_t len;
    enum ss_file_kind kind;
} marks[] = {
    {"\xFE\xED\xFA\xCE", 4, SS_FILE_MACH_O}, {"\xFE\xED\xFA\xCF", 4, SS_FILE_MACH_O},
    {"\xCE\xFA\xED\xFE", 4, SS_FILE_MACH_O}, {"\xCF\xFA\xED\xFE", 4, SS_FILE_MACH_O},
    {"\xCA\xFE\xBA\xBE", 4, SS_FILE_MACH_O}, {"MZ", 2, SS_FILE_PE},
    {"!<arch>\n", 8, SS_FILE_ARCHIVE},       {"!<thin>\n", 8, SS_FILE_ARCHIVE},
};

void ss_file_look(const uint8_t *file, size_t len, ss_file *out) {
    memset(out, 0, sizeof *out);
    if (ss_elf_is(file, len)) {
        ss_elf_look(file, len, out);
        return;
    }
    out->kind = len == 0 ? SS_FILE_EMPTY : SS_FILE_OTHER;
    for (size_t i = 0; i < sizeof marks / sizeof marks[0]; i++)
        if (len >= marks[i].len && memcmp(file, marks[i].bytes, marks[i].len) == 0)
            out->kind = marks[i].kind;
}

/* ---- Is it a plugin? ------------------------------------------------------------------ */

static bool look(const char *path, const char *shown, ss_file *out, ss_refusal *why) {
    size_t len = 0;
    const int fd = ss_os_file_open(path, &len);
    const uint8_t *file = fd < 0 || len == 0 ? NULL : ss_os_file_map(fd, len);
    const bool readable = fd >= 0 && (len == 0 || file != NULL);
    if (fd >= 0)
        ss_os_file_close(fd);
    if (!readable) {
        ss_refuse(why, SS_REFUSED_CANNOT_OPEN, "cannot read %s: %s", shown,
                  errno == 0 ? "it is not a regular file" : strerror(errno));
        return ss_advise(why, "check the path and its permissions: ls -l %s", shown);
    }
    ss_file_look(file, len, out);
    ss_os_file_unmap(file, len);
    return true;
}

static bool check_kind(const char *shown, const ss_file *found, ss_refusal *why) {
    static const struct {
        const char *text;
        const char *hint;
    } kinds[] = {
        [SS_FILE_EMPTY] = {"is an empty file",
                           "build it again; an interrupted build or copy leaves such a file"},
        [SS_FILE_OTHER] = {"is not a shared library",
                           "libpath has to name the compiled plugin (.so), not its source"},
        [SS_FILE_MACH_O] = {"is a macOS library (Mach-O)", "use the plugin's build for Linux"},
        [SS_FILE_PE] = {"is a Windows library (PE)", "use the plugin's build for Linux"},
        [SS_FILE_ARCHIVE] = {"is a static library (.a)", "link it as a shared library: cc -shared"},
        [SS_FILE_DAMAGED] = {"is a damaged ELF file: it ends too early, or contradicts itself",
                             "build or copy it again and compare the sizes"},
        [SS_FILE_OBJECT] = {"is an object file (.o)", "link it: cc -shared -o plugin.so plugin.o"},
        [SS_FILE_PROGRAM] = {"is a program, not a shared library",
                             "link it with -shared, and without -pie"},
    };
    if (found->kind == SS_FILE_ELF)
        return true;
    if (found->kind != SS_FILE_FOREIGN) {
        ss_refuse(why, SS_REFUSED_NOT_A_LIBRARY, "%s %s", shown, kinds[found->kind].text);
        return ss_advise(why, "%s", kinds[found->kind].hint);
    }
    const uint16_t own = ss_elf_own_machine();
    ss_refuse(why, SS_REFUSED_WRONG_ARCHITECTURE,
              "%s is built for %s (machine %u, %u bit), this host is %s (machine %u, %u bit)",
              shown, ss_elf_machine_name(found->machine), (unsigned)found->machine,
              (unsigned)found->bits, ss_elf_machine_name(own), (unsigned)own,
              (unsigned)(8 * sizeof(void *)));
    return ss_advise(why, "use the plugin's build for %s", ss_elf_machine_name(own));
}

bool ss_file_check(const char *path, const char *shown, ss_file *out, ss_refusal *why) {
    if (!look(path, shown, out, why) || !check_kind(shown, out, why))
        return false;
    if (out->has_constructor && out->constructor_is_function)
        return true;
    if (out->has_constructor) {
        ss_refuse(why, SS_REFUSED_NO_CONSTRUCTOR, "%s exports %s, but not as a function", shown,
                  SLIPSTREAM_CONSTRUCTOR);
        return ss_advise(why, "define it as in slipstream.h, as a function that returns the table");
    }
    if (out->other_major != 0) {
        ss_refuse(why, SS_REFUSED_WRONG_ABI_MAJOR,
                  "%s is a plugin for ABI major %u, this host speaks major %d", shown,
                  (unsigned)out->other_major, SLIPSTREAM_ABI_MAJOR);
        return ss_advise(why, "use a build of the plugin for major %d, or a host for major %u",
                         SLIPSTREAM_ABI_MAJOR, (unsigned)out->other_major);
    }
    if (out->has_rust_constructor) {
        ss_refuse(why, SS_REFUSED_RUST_ABI_PLUGIN,
                  "%s exports _create_plugin: it is a Rust-ABI plugin of snarkVM or Geyser, whose "
                  "layout only the compiler that built it knows",
                  shown);
        return ss_advise(why, "export %s from it, with the Rust adapter or by hand (slipstream.h)",
                         SLIPSTREAM_CONSTRUCTOR);
    }
    ss_refuse(why, SS_REFUSED_NO_CONSTRUCTOR, "%s is a library, but does not export %s", shown,
              SLIPSTREAM_CONSTRUCTOR);
    return ss_advise(why, "declare it with SLIPSTREAM_EXPORT and look at nm -D %s", shown);
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
