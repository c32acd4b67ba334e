/* inner: what the files of this folder share. */
#ifndef SS_PLATFORM_LINUX_INNER_H
#define SS_PLATFORM_LINUX_INNER_H

#include "platform/platform.h"

#include <sys/types.h>

/* ---- peek: the process's mappings, and its memory ---------------------------------------- */

typedef struct ss_os_mapping {
    uintptr_t start;
    uintptr_t end;
    bool executable;
    char path[4096];
} ss_os_mapping;

/* Calls `visit` for each mapping until it returns true: 1 if one did, 0 if none did, -1 if they
 * cannot be seen: there is no /proc. */
int ss_os_each_mapping(bool (*visit)(const ss_os_mapping *, void *), void *context);
/* Is it of the file with this path, be that deleted? */
bool ss_os_mapping_is_of(const ss_os_mapping *m, const char *path);

/* ss_os_read_memory where it is allowed: how many bytes, or -1 with errno set. */
ssize_t ss_os_read_directly(const void *address, void *out, size_t len);

/* ---- system ---------------------------------------------------------------------------- */

/* Is it by a page that the kernel wipes that a fork is noticed? */
bool ss_os_has_fork_mark(void);

#endif
