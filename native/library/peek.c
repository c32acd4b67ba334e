#include "library/peek.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
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

bool ss_peek_read(const void *address, void *out, size_t len) {
    const struct iovec to = {out, len};
    const struct iovec from = {(void *)(uintptr_t)address, len};
    if (address == NULL)
        return false;
    const ssize_t n = process_vm_readv(getpid(), &to, 1, &from, 1, 0);
    if (n < 0 && (errno == ENOSYS || errno == EPERM))
        return read_by_pipe(address, out, len);
    return n == (ssize_t)len;
}

int ss_peek_text(const char *address, char *out, size_t room) {
    size_t used = 0;
    while (used < room) {
        /* Never across the end of a page whose successor may be missing. */
        const size_t to_edge = 64 - ((uintptr_t)(address + used) & 63);
        const size_t piece = to_edge < room - used ? to_edge : room - used;
        if (!ss_peek_read(address + used, out + used, piece))
            return -1;
        const char *end = memchr(out + used, '\0', piece);
        if (end != NULL)
            return (int)(end - out);
        used += piece;
    }
    return -2;
}

typedef struct mapping {
    uintptr_t start;
    uintptr_t end;
    bool executable;
    char path[4096];
} mapping;

/* Calls `visit` for each mapping until it returns true; true if one did. */
static bool each_mapping(bool (*visit)(const mapping *, const void *), const void *context) {
    FILE *maps = fopen("/proc/self/maps", "re");
    char *line = NULL;
    size_t room = 0;
    bool found = false;
    mapping m;
    if (maps == NULL)
        return false;
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

typedef struct address_search {
    const uintptr_t *addresses;
    int count;
    uint32_t found; /* bit n: address n */
} address_search;

static bool mark_executable(const mapping *m, const void *context) {
    address_search *search = (address_search *)(uintptr_t)context;
    for (int i = 0; i < search->count; i++)
        if (m->executable && search->addresses[i] >= m->start && search->addresses[i] < m->end)
            search->found |= UINT32_C(1) << i;
    return false;
}

int ss_peek_executable(const uintptr_t *addresses, int count) {
    address_search search = {addresses, count, 0};
    each_mapping(mark_executable, &search);
    for (int i = 0; i < count; i++)
        if (addresses[i] != 0 && (search.found >> i & 1) == 0)
            return i;
    return -1;
}

static bool is_of_path(const mapping *m, const void *path) {
    const size_t len = strlen(path);
    return strncmp(m->path, path, len) == 0 &&
           (m->path[len] == '\0' || strcmp(m->path + len, " (deleted)") == 0);
}

bool ss_peek_mapped(const char *path) {
    return each_mapping(is_of_path, path);
}

void ss_peek_threads(ss_threads *out) {
    DIR *tasks = opendir("/proc/self/task");
    out->count = 0;
    if (tasks == NULL)
        return;
    for (struct dirent *entry; (entry = readdir(tasks)) != NULL && out->count < SS_THREADS_MAX;) {
        const int id = atoi(entry->d_name);
        if (id > 0)
            out->ids[out->count++] = id;
    }
    closedir(tasks);
}

static bool known(const ss_threads *threads, int id) {
    for (size_t i = 0; i < threads->count; i++)
        if (threads->ids[i] == id)
            return true;
    return false;
}

static bool read_task_file(int id, const char *name, char *out, size_t room) {
    char path[64];
    snprintf(path, sizeof path, "/proc/self/task/%d/%s", id, name);
    const int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return false;
    const ssize_t n = read(fd, out, room - 1);
    close(fd);
    if (n <= 0)
        return false;
    out[n] = '\0';
    out[strcspn(out, "\n")] = '\0';
    return true;
}

typedef struct range_search {
    const char *path;
    uintptr_t low;
    uintptr_t high;
} range_search;

typedef struct end_search {
    uintptr_t address;
    uintptr_t end;
} end_search;

static bool find_end(const mapping *m, const void *context) {
    end_search *search = (end_search *)(uintptr_t)context;
    if (search->address < m->start || search->address >= m->end)
        return false;
    search->end = m->end;
    return true;
}

static bool widen(const mapping *m, const void *context) {
    range_search *search = (range_search *)(uintptr_t)context;
    if (m->executable && is_of_path(m, search->path)) {
        if (search->low == 0 || m->start < search->low)
            search->low = m->start;
        if (m->end > search->high)
            search->high = m->end;
    }
    return false;
}

/* A waiting thread's stack, from its pointer upward, holds the addresses it returns to. */
static bool stack_leads_into(int id, const range_search *range) {
    enum { WORDS = 512, PIECES = 16 };
    uintptr_t words[WORDS];
    char line[256];
    uintptr_t stack = 0;
    if (!read_task_file(id, "syscall", line, sizeof line))
        return false;
    /* "number arg0 ... arg5 stack pc"; a running thread has only "running". */
    char *last = strrchr(line, ' ');
    if (last == NULL)
        return false;
    *last = '\0';
    last = strrchr(line, ' ');
    if (last == NULL)
        return false;
    stack = (uintptr_t)strtoull(last + 1, NULL, 16);
    end_search top = {stack, stack};
    each_mapping(find_end, &top);
    for (int piece = 0; piece < PIECES && stack < top.end; piece++, stack += sizeof words) {
        const size_t left = top.end - stack;
        const size_t bytes = left < sizeof words ? left : sizeof words;
        if (!ss_peek_read((const void *)stack, words, bytes))
            return false;
        for (size_t i = 0; i < bytes / sizeof words[0]; i++)
            if (words[i] >= range->low && words[i] < range->high)
                return true;
    }
    return false;
}

bool ss_peek_thread_of(const char *path, const char *comm, const ss_threads *before) {
    range_search range = {path, 0, 0};
    char name[64];
    ss_threads *now = malloc(sizeof *now);
    bool found = false;
    if (now == NULL)
        return true; /* not to know is to keep it */
    each_mapping(widen, &range);
    ss_peek_threads(now);
    for (size_t i = 0; i < now->count && !found; i++) {
        if (now->ids[i] == gettid() || known(before, now->ids[i]))
            continue; /* our own stack holds the very bounds that are looked for */
        if (!read_task_file(now->ids[i], "comm", name, sizeof name))
            continue; /* it has ended */
        /* Other instances have threads named like ours; what they start is their business. */
        const size_t family = strcspn(comm, "-") + 1;
        if (strncmp(name, comm, family) == 0)
            found = strcmp(name, comm) == 0;
        else
            found = stack_leads_into(now->ids[i], &range);
    }
    free(now);
    return found;
}
