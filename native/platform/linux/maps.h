/* maps: the process's mappings, for the files of this folder. */
#ifndef SS_PLATFORM_LINUX_MAPS_H
#define SS_PLATFORM_LINUX_MAPS_H

#include "platform/platform.h"

typedef struct ss_os_mapping {
    uintptr_t start;
    uintptr_t end;
    bool executable;
    char path[4096];
} ss_os_mapping;

/* Calls `visit` for each mapping until it returns true; true if one did. */
bool ss_os_each_mapping(bool (*visit)(const ss_os_mapping *, void *), void *context);
/* Is it of the file with this path, be that deleted? */
bool ss_os_mapping_is_of(const ss_os_mapping *m, const char *path);

#endif
