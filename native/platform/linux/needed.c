/* needed: what a library needs, and whether its file is still what is mapped. */
#include "platform/linux/inner.h"

#include <dlfcn.h>
#include <link.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

enum { NEEDED_MOST = 256 };

typedef struct search {
    const struct link_map *found[NEEDED_MOST]; /* the library, then what it needs, breadth first */
    size_t count;
} search;

/* The texts of a dynamic section; glibc has relocated their address, other C libraries have not. */
static const char *texts_of(const struct link_map *map) {
    for (const ElfW(Dyn) *entry = map->l_ld; entry->d_tag != DT_NULL; entry++)
        if (entry->d_tag == DT_STRTAB)
            return (const char *)(entry->d_un.d_ptr < map->l_addr ? map->l_addr + entry->d_un.d_ptr
                                                                  : entry->d_un.d_ptr);
    return NULL;
}

static bool has_name(const struct link_map *map, const char *name) {
    const char *texts = texts_of(map);
    const char *slash = strrchr(map->l_name, '/');
    if (slash != NULL && strcmp(slash + 1, name) == 0)
        return true;
    for (const ElfW(Dyn) *entry = map->l_ld; texts != NULL && entry->d_tag != DT_NULL; entry++)
        if (entry->d_tag == DT_SONAME)
            return strcmp(texts + entry->d_un.d_val, name) == 0;
    return false;
}

static void add(search *self, const struct link_map *map) {
    for (size_t i = 0; i < self->count; i++)
        if (self->found[i] == map)
            return;
    if (self->count < NEEDED_MOST)
        self->found[self->count++] = map;
}

static void add_needed(search *self, const struct link_map *of) {
    const char *texts = texts_of(of);
    const struct link_map *first = of;
    while (first->l_prev != NULL)
        first = first->l_prev;
    for (const ElfW(Dyn) *entry = of->l_ld; texts != NULL && entry->d_tag != DT_NULL; entry++)
        for (const struct link_map *map = first;
             entry->d_tag == DT_NEEDED && map != NULL; map = map->l_next)
            if (map->l_ld != NULL && has_name(map, texts + entry->d_un.d_val))
                add(self, map);
}

static bool is_deleted(const ss_os_mapping *m, void *place) {
    const size_t len = strlen(m->path);
    const char *mark = " (deleted)";
    const size_t tail = strlen(mark);
    return (uintptr_t)place >= m->start && (uintptr_t)place < m->end && len > tail &&
           strcmp(m->path + len - tail, mark) == 0;
}

bool ss_os_library_needs_replaced(void *library, char *path, size_t room) {
    struct link_map *own;
    struct stat now;
    search self = {.count = 0};
    if (dlinfo(library, RTLD_DI_LINKMAP, &own) != 0 || own == NULL)
        return false;
    add(&self, own);
    for (size_t i = 0; i < self.count; i++) {
        const struct link_map *map = self.found[i];
        add_needed(&self, map);
        if (i > 0 && map->l_name[0] == '/' && ss_os_each_mapping(is_deleted, map->l_ld) > 0 &&
            stat(map->l_name, &now) == 0) {
            snprintf(path, room, "%s", map->l_name);
            return true;
        }
    }
    return false;
}
