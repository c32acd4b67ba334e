/* exports: what a library exports to a host, whatever its format is. */
#ifndef SS_EXPORTS_H
#define SS_EXPORTS_H

#include "library/file.h"
#include "library/source.h"

/* An exported symbol. */
typedef struct ss_export {
    uint64_t at;   /* where it lies in the file */
    uint64_t room; /* how many bytes there are its, or its section's; 0: none is in the file */
    bool is_function;
    bool is_data;
    bool is_writable;
} ss_export;

/* How a format finds a symbol; `out` is all 0. */
typedef bool (*ss_find)(void *image, const char *name, ss_export *out);

/* Fills in what `out` says of exports. */
void ss_exports_look(const ss_source *source, ss_find find, void *image, ss_file *out);

#endif
