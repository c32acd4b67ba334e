/* oom: has the kernel killed a process for lack of memory? It says so only by its counters. */
#include "process/generation.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Behind the line's name; UINT64_MAX where there is none. */
static uint64_t read_count(const char *path) {
    char line[256];
    uint64_t count = UINT64_MAX;
    FILE *file = fopen(path, "re");
    while (file != NULL && count == UINT64_MAX && fgets(line, sizeof line, file) != NULL)
        if (strncmp(line, "oom_kill ", 9) == 0)
            count = strtoull(line + 9, NULL, 10);
    if (file != NULL)
        fclose(file);
    return count;
}

/* One line of /proc/PID/cgroup, as N:CONTROLLERS:PATH: is there a counter in it? */
static bool try_group(char *line, char *out, size_t room) {
    char *controllers = strchr(line, ':');
    char *path = controllers == NULL ? NULL : strchr(controllers + 1, ':');
    if (path == NULL)
        return false;
    *controllers++ = '\0';
    *path++ = '\0';
    path[strcspn(path, "\n")] = '\0';
    if (controllers[0] == '\0')
        snprintf(out, room, "/sys/fs/cgroup%s/memory.events", path);
    else if (strstr(controllers, "memory") != NULL)
        snprintf(out, room, "/sys/fs/cgroup/memory%s/memory.oom_control", path);
    else
        return false;
    return read_count(out) != UINT64_MAX;
}

void ss_oom_start(ss_generation *generation) {
    char line[1024];
    bool found = false;
    snprintf(line, sizeof line, "/proc/%d/cgroup", (int)generation->pid);
    FILE *file = fopen(line, "re");
    while (file != NULL && !found && fgets(line, sizeof line, file) != NULL)
        found = try_group(line, generation->oom_file, sizeof generation->oom_file);
    if (file != NULL)
        fclose(file);
    if (!found)
        generation->oom_file[0] = '\0';
    generation->oom_kills = found ? read_count(generation->oom_file) : 0;
}

bool ss_oom_has_killed(const ss_generation *generation) {
    if (generation->oom_file[0] == '\0')
        return false;
    const uint64_t kills = read_count(generation->oom_file);
    return kills != UINT64_MAX && kills > generation->oom_kills;
}
