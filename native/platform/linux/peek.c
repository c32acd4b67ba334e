/* peek: looking at memory and at the process without trusting either. */
#include "platform/linux/inner.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <link.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

/* write() checks the range for us where process_vm_readv is forbidden (some sandboxes). */
static bool read_by_pipe(const void *address, void *out, size_t len) {
    int fds[2];
    if (pipe2(fds, O_CLOEXEC | O_NONBLOCK) != 0)
        return false;
    size_t done = 0;
    while (done < len) {
        const size_t piece = len - done < 512 ? len - done : 512;
        if (write(fds[1], (const char *)address + done, piece) != (ssize_t)piece ||
            read(fds[0], (char *)out + done, piece) != (ssize_t)piece)
            break;
        done += piece;
    }
    close(fds[0]);
    close(fds[1]);
    return done == len;
}

ssize_t ss_os_read_directly(const void *address, void *out, size_t len) {
    const struct iovec to = {out, len};
    const struct iovec from = {(void *)(uintptr_t)address, len};
    return process_vm_readv(getpid(), &to, 1, &from, 1, 0);
}

bool ss_os_read_memory(const void *address, void *out, size_t len) {
    if (address == NULL)
        return false;
    const ssize_t n = ss_os_read_directly(address, out, len);
    if (n < 0 && (errno == ENOSYS || errno == EPERM))
        return read_by_pipe(address, out, len);
    return n == (ssize_t)len;
}

/* ---- Mappings -------------------------------------------------------------------------- */

int ss_os_each_mapping(bool (*visit)(const ss_os_mapping *, void *), void *context) {
    FILE *maps = fopen("/proc/self/maps", "re");
    char *line = NULL;
    size_t room = 0;
    bool found = false;
    ss_os_mapping m;
    if (maps == NULL)
        return -1;
    while (!found && getline(&line, &room, maps) > 0) {
        char flags[5];
        unsigned long start;
        unsigned long end;
        int at = 0;
        if (sscanf(line, "%lx-%lx %4s %*s %*s %*s %n", &start, &end, flags, &at) < 3)
            continue;
        m.start = start;
        m.end = end;
        m.executable = flags[2] == 'x';
        line[strcspn(line, "\n")] = '\0';
        snprintf(m.path, sizeof m.path, "%s", at > 0 ? line + at : "");
        found = visit(&m, context);
    }
    free(line);
    fclose(maps);
    return found;
}

bool ss_os_mapping_is_of(const ss_os_mapping *m, const char *path) {
    const size_t len = strlen(path);
    return strncmp(m->path, path, len) == 0 &&
           (m->path[len] == '\0' || strcmp(m->path + len, " (deleted)") == 0);
}

typedef struct code_list {
    ss_os_range *out;
    size_t room;
    size_t count;
} code_list;

static int add_code(struct dl_phdr_info *info, size_t size, void *context) {
    code_list *list = context;
    (void)size;
    for (size_t i = 0; i < info->dlpi_phnum && list->count < list->room; i++) {
        const ElfW(Phdr) *part = &info->dlpi_phdr[i];
        const uintptr_t start = info->dlpi_addr + part->p_vaddr;
        if (part->p_type == PT_LOAD && (part->p_flags & PF_X) != 0)
            list->out[list->count++] = (ss_os_range){start, start + part->p_memsz};
    }
    return 0;
}

size_t ss_os_code_ranges(ss_os_range *out, size_t room) {
    code_list list = {out, room, 0};
    dl_iterate_phdr(add_code, &list);
    return list.count;
}

typedef struct address_search {
    const uintptr_t *addresses;
    int count;
    uint32_t found; /* bit n: address n */
} address_search;

static bool mark_executable(const ss_os_mapping *m, void *context) {
    address_search *search = context;
    for (int i = 0; i < search->count; i++)
        if (m->executable && search->addresses[i] >= m->start && search->addresses[i] < m->end)
            search->found |= UINT32_C(1) << i;
    return false;
}

/* Where mappings cannot be seen: what is code by the program's and the libraries' own tables. */
static void mark_code(address_search *search) {
    enum { MOST = 4096 };
    ss_os_mapping m = {.executable = true};
    ss_os_range *ranges = malloc(MOST * sizeof *ranges);
    const size_t count = ranges == NULL ? 0 : ss_os_code_ranges(ranges, MOST);
    for (size_t i = 0; i < count; i++) {
        m.start = ranges[i].start;
        m.end = ranges[i].end;
        mark_executable(&m, search);
    }
    free(ranges);
}

int ss_os_find_not_executable(const uintptr_t *addresses, int count) {
    address_search search = {addresses, count, 0};
    if (ss_os_each_mapping(mark_executable, &search) < 0)
        mark_code(&search);
    for (int i = 0; i < count; i++)
        if (addresses[i] != 0 && (search.found >> i & 1) == 0)
            return i;
    return -1;
}

/* ---- Threads --------------------------------------------------------------------------- */

size_t ss_os_thread_ids(int *ids, size_t room) {
    DIR *tasks = opendir("/proc/self/task");
    size_t count = 0;
    if (tasks == NULL)
        return 0;
    for (struct dirent *entry; (entry = readdir(tasks)) != NULL && count < room;) {
        const int id = atoi(entry->d_name);
        if (id > 0)
            ids[count++] = id;
    }
    closedir(tasks);
    return count;
}

int ss_os_thread_own_id(void) {
    return (int)syscall(SYS_gettid); /* glibc has a function for it since 2.30 */
}

/* 1; 0 if the thread has ended; -1 if it may not be looked at, or no descriptor is left. */
static int read_task_file(int id, const char *name, char *out, size_t room) {
    char path[64];
    snprintf(path, sizeof path, "/proc/self/task/%d/%s", id, name);
    const int fd = open(path, O_RDONLY | O_CLOEXEC);
    const ssize_t n = fd < 0 ? -1 : read(fd, out, room - 1);
    if (fd >= 0)
        close(fd);
    if (n > 0) {
        out[n] = '\0';
        out[strcspn(out, "\n")] = '\0';
        return 1;
    }
    snprintf(path, sizeof path, "/proc/self/task/%d", id);
    return access(path, F_OK) != 0 && errno == ENOENT ? 0 : -1;
}

bool ss_os_thread_get_name(int id, char *out, size_t room) {
    return read_task_file(id, "comm", out, room) > 0;
}

typedef struct end_search {
    uintptr_t address;
    uintptr_t end;
} end_search;

static bool find_end(const ss_os_mapping *m, void *context) {
    end_search *search = context;
    if (search->address < m->start || search->address >= m->end)
        return false;
    search->end = m->end;
    return true;
}

/* A waiting thread's stack, from its pointer upward, holds the addresses it returns to. */
int ss_os_thread_is_in(int id, const ss_os_range *code, size_t count) {
    enum { WORDS = 512, PIECES = 16 };
    uintptr_t words[WORDS];
    char line[256];
    const int found = read_task_file(id, "syscall", line, sizeof line);
    if (found <= 0)
        return found;
    /* "number arg0 ... arg5 stack pc"; a running thread has only "running". */
    char *pc = strrchr(line, ' ');
    if (pc == NULL)
        return -1;
    *pc++ = '\0';
    const char *before = strrchr(line, ' ');
    if (before == NULL)
        return -1;
    if (ss_os_lies_in((uintptr_t)strtoull(pc, NULL, 16), code, count))
        return 1;
    uintptr_t stack = (uintptr_t)strtoull(before + 1, NULL, 16);
    end_search top = {stack, stack};
    if (ss_os_each_mapping(find_end, &top) < 0)
        return -1;
    for (int piece = 0; piece < PIECES && stack < top.end; piece++, stack += sizeof words) {
        const size_t left = top.end - stack;
        const size_t bytes = left < sizeof words ? left : sizeof words;
        if (!ss_os_read_memory((const void *)stack, words, bytes))
            return -1;
        for (size_t i = 0; i < bytes / sizeof words[0]; i++)
            if (ss_os_lies_in(words[i], code, count))
                return 1;
    }
    return 0;
}
