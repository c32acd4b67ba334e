/* The reader of ELF files, the libraries of Linux; and of their build ids. */
#include "fuzz.h"
#include "library/elf.h"

#include <sys/mman.h>
#include <unistd.h>

/* The id is read from a file. */
static void look_for_build_id(const ss_source *source) {
    static int file = -1;
    char id[129] = "";
    if (file < 0)
        file = memfd_create("library", MFD_CLOEXEC);
    REQUIRE(file >= 0 && ftruncate(file, (off_t)source->len) == 0);
    REQUIRE(pwrite(file, source->file, source->len, 0) == (ssize_t)source->len);
    ss_elf_build_id(file, source->len, id, sizeof id);
    REQUIRE(strspn(id, "0123456789abcdef") == strlen(id));
}

static void look(const ss_source *source, ss_file *out) {
    ss_elf_look(source, out);
    look_for_build_id(source);
}

#define KIND SS_FILE_DAMAGED
#define LOOK look
#include "library.h"
