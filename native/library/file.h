/* file: what a library's file says about it, without anything of it running. */
#ifndef SS_FILE_H
#define SS_FILE_H

#include "library/refusal.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum ss_file_kind {
    SS_FILE_ELF,      /* a shared object for this machine */
    SS_FILE_EMPTY,
    SS_FILE_OTHER,    /* no library format that is known here */
    SS_FILE_MACH_O,
    SS_FILE_PE,
    SS_FILE_ARCHIVE,  /* a static library */
    SS_FILE_DAMAGED,  /* an ELF file that is cut off or inconsistent */
    SS_FILE_OBJECT,   /* an ELF object file (.o) */
    SS_FILE_PROGRAM,  /* an ELF program */
    SS_FILE_FOREIGN,  /* an ELF file for another machine */
};

typedef struct ss_file {
    enum ss_file_kind kind;
    uint16_t machine;    /* e_machine, for SS_FILE_FOREIGN */
    uint8_t bits;        /* 32 or 64 */
    bool has_constructor;
    bool constructor_is_function;
    bool has_rust_constructor; /* _create_plugin */
    bool is_go;
    bool no_delete;
    uint32_t other_major; /* of another slipstream_create_plugin_vN, else 0 */
} ss_file;

/* Looks at a whole file in memory; never reads outside of it. */
void ss_file_look(const uint8_t *file, size_t len, ss_file *out);

/* Looks at the file of this path: true if it is a library with a constructor of this ABI.
 * `shown` is its name for people. */
bool ss_file_check(const char *path, const char *shown, ss_file *out, ss_refusal *why);

/* Writes the build id of the library at a path, in hexadecimal; "" if it has none, or it
 * cannot be had. The path may be anything: only a plain file is opened, and little of it read. */
void ss_file_build_id(const char *path, char *out, size_t room);

#endif
