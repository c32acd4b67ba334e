/* open: a library that is open, with its constructor.
 * Between the marks stand only declarations; the build parses them. */
#ifndef SS_OPEN_H
#define SS_OPEN_H

#include "library/file.h"
#include "library/peek.h"

#include <slipstream.h>

/* cdef:begin */

/* What became of a library's mapping when it was closed. */
#define SS_MAPPING_NONE 0 /* it was never opened */
#define SS_MAPPING_GONE 1 /* closed, and nothing of it is mapped any more */
#define SS_MAPPING_RESIDENT 2 /* kept on purpose: SLIPSTREAM_FLAG_RESIDENT */
#define SS_MAPPING_GO 3 /* kept on purpose: a Go runtime cannot be unmapped */
#define SS_MAPPING_THREADS 4 /* kept on purpose: threads of the library, or of one that came with it */
#define SS_MAPPING_PINNED 5 /* closed, but the loader keeps it mapped */
#define SS_MAPPING_SIGNAL 6 /* kept on purpose: a signal is answered by a function of it */
#define SS_MAPPING_UNSEEN 7 /* kept on purpose: threads of it cannot be seen */
#define SS_MAPPING_KEY 8 /* kept on purpose: threads may hold data whose destructor lies in it */
#define SS_MAPPING_NEVER 9 /* closed, but this system's loader unmaps nothing */
/* cdef:end */

typedef const slipstream_plugin *(SLIPSTREAM_CALL *ss_constructor)(const slipstream_host *);

enum { SS_CODE_MAX = 64 };

typedef struct ss_library {
    const char *path; /* these two are the caller's, */
    const char *shown; /* the second one for people; the rest is made by ss_library_open */
    void *handle;
    ss_file file;
    ss_threads before; /* the threads that there were */
    /* Where its code lies, and that of the libraries that came with it. */
    ss_os_range code[SS_CODE_MAX];
    size_t code_count;
} ss_library;

/* Looks at the file and opens it. Its constructor; NULL if it is refused. In either case
 * ss_library_close is to follow. */
ss_constructor ss_library_open(ss_library *library, ss_refusal *why);

/* SS_MAPPING_*. To be called when nobody is in the library any more; `comm` is the name of the
 * thread that has called it and has ended, `flags` are the table's. `elsewhere`: it was also called
 * on threads of others, which may live. */
uint32_t ss_library_close(ss_library *library, uint32_t flags, const char *comm, bool elsewhere);

#endif
