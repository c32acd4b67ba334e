/* file: what a library's file says about it, without anything of it running.
 * Between the marks stand only declarations; the build parses them. */
#ifndef SS_FILE_H
#define SS_FILE_H

#include "library/refusal.h"
#include "library/source.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* cdef:begin */

/* What a file is. */
#define SS_FILE_ELF 0 /* a shared object for this machine */
#define SS_FILE_EMPTY 1
#define SS_FILE_OTHER 2 /* no library format that is known here */
#define SS_FILE_MACH_O 3
#define SS_FILE_PE 4
#define SS_FILE_ARCHIVE 5 /* a static library */
#define SS_FILE_DAMAGED 6 /* an ELF file that is cut off or inconsistent */
#define SS_FILE_OBJECT 7 /* an ELF object file (.o) */
#define SS_FILE_PROGRAM 8 /* an ELF program */
#define SS_FILE_FOREIGN 9 /* an ELF file for another machine */

/* Whether it was seen what it exports. */
#define SS_EXPORTS_NONE 0 /* it is no library, or one that cannot be read here */
#define SS_EXPORTS_READ 1
#define SS_EXPORTS_DAMAGED 2 /* it is cut off or inconsistent */

/* Where slipstream_info_v1 is. */
#define SS_INFO_NONE 0 /* it exports none */
#define SS_INFO_THERE 1
#define SS_INFO_NOT_DATA 2 /* a function, say */
#define SS_INFO_OUTSIDE 3 /* not in the file */
#define SS_INFO_WRITABLE 4
#define SS_INFO_NO_MAGIC 5 /* it begins otherwise */
#define SS_INFO_TOO_LONG 6
#define SS_INFO_NOT_ENDED 7 /* no NUL before its end, or that of its section */

typedef struct ss_file {
    uint32_t kind;    /* SS_FILE_* */
    uint32_t bits;    /* 32 or 64; 0: not known */
    uint32_t machine; /* as its format numbers them; 0: not known */
    uint32_t slices;  /* of a Mach-O file for several machines; the rest is of one of them */
    const char *machine_name; /* "" */
    uint32_t exports; /* SS_EXPORTS_* */
    bool has_constructor;
    bool constructor_is_function;
    bool has_rust_constructor; /* _create_plugin */
    bool is_go;
    bool no_delete;
    bool is_program;      /* PE, Mach-O: one that runs, or is still to be linked */
    uint32_t other_major; /* of another slipstream_create_plugin_vN, else 0 */
    uint32_t info;        /* SS_INFO_* */
    uint32_t info_len;    /* the JSON's, without what is before and behind it */
    uint64_t info_at;     /* where it lies in the file */
} ss_file;

/* Looks at the file of this path, whose name for people is `shown`; false if it cannot be read.
 * Its info's JSON goes to `info` (SLIPSTREAM_INFO_MAX bytes, or NULL) if it is there. */
bool ss_file_read(const char *path, const char *shown, ss_file *out, char *info, ss_refusal *why);
/* True if it is a library of this system and for this machine. */
bool ss_file_check_kind(const char *shown, const ss_file *found, ss_refusal *why);
/* True if it has a constructor of this ABI, and no info or one that can be read; for whichever
 * system it is. */
bool ss_file_check_exports(const char *shown, const ss_file *found, ss_refusal *why);

/* Writes the build id of the library at a path, in hexadecimal; "" if it has none, or it
 * cannot be had. The path may be anything: only a plain file is opened, and little of it read. */
void ss_file_build_id(const char *path, char *out, size_t room);
/* cdef:end */

/* Looks at bytes; never reads outside of them. */
void ss_file_look(const ss_source *source, ss_file *out);

/* All of the above: true if the file of this path can be opened as a plugin. */
bool ss_file_check(const char *path, const char *shown, ss_file *out, ss_refusal *why);

#endif
