/* library: opening and closing libraries, and what is mapped where. */
#include "platform/platform.h"

#include <dlfcn.h>
#include <mach-o/dyld.h>
#include <stdio.h>
#include <string.h>

void *ss_os_library_open(const char *path, char *why, size_t room) {
    void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (library != NULL)
        return library;
    const char *said = dlerror();
    const size_t prefix = strlen(path);
    if (said != NULL && strncmp(said, path, prefix) == 0 && said[prefix] == ':')
        said += prefix + 2;
    snprintf(why, room, "%s", said == NULL ? "unknown reason" : said);
    return NULL;
}

void *ss_os_library_symbol(void *library, const char *name) {
    return dlsym(library, name);
}

void ss_os_library_close(void *library) {
    dlclose(library);
}

bool ss_os_library_is_mapped(const char *path) {
    const uint32_t count = _dyld_image_count();
    for (uint32_t i = 0; i < count; i++) {
        const char *name = _dyld_get_image_name(i); /* NULL: it has gone meanwhile */
        if (name != NULL && strcmp(name, path) == 0)
            return true;
    }
    return false;
}

/* What is loaded may be replaced by a rename; dyld tells nobody what it needs. */
bool ss_os_library_needs_replaced(void *library, char *path, size_t room) {
    (void)library, (void)path, (void)room;
    return false;
}

/* Which destructors threads' own data has is not to be seen. */
int ss_os_key_into(const ss_os_range *code, size_t count) {
    (void)code, (void)count;
    return -1;
}

void ss_os_forget_keys_into(const ss_os_range *code, size_t count) {
    (void)code, (void)count;
}
