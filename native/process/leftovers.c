/* leftovers: processes that a worker has started and that outlive it. */
#include "process/generation.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

enum {
    ENVIRONMENT_LOOKED_AT = 16 * 1024, /* ours stands in front, unless the process has moved it */
    TOLD_OF = 8,
    WHOLE_GROUP = 4, /* PIDFD_SIGNAL_PROCESS_GROUP, which older headers do not have */
};

/* Its number stays its own until it is reaped, and its group's as long as that has members. */
static void kill_group(const ss_generation *generation) {
    siginfo_t info = {0};
    if (generation->pidfd < 0 ||
        syscall(SYS_pidfd_send_signal, generation->pidfd, SIGKILL, NULL, WHOLE_GROUP) == 0 ||
        errno != EINVAL)
        return;
    if (waitid(P_PIDFD, (id_t)generation->pidfd, &info, WEXITED | WNOHANG | WNOWAIT) == 0 &&
        info.si_pid == generation->pid)
        kill(-generation->pid, SIGKILL);
}

static size_t read_of(pid_t pid, const char *what, char *out, size_t room) {
    char path[64];
    snprintf(path, sizeof path, "/proc/%d/%s", (int)pid, what);
    const int fd = open(path, O_RDONLY | O_CLOEXEC);
    const ssize_t n = fd < 0 ? 0 : read(fd, out, room - 1);
    if (fd >= 0)
        close(fd);
    out[n > 0 ? n : 0] = '\0';
    return n > 0 ? (size_t)n : 0;
}

static bool has_mark(pid_t pid, const char *mark) {
    char environment[ENVIRONMENT_LOOKED_AT];
    const size_t len = read_of(pid, "environ", environment, sizeof environment);
    return memmem(environment, len, mark, strlen(mark) + 1) != NULL;
}

static void tell(const ss_generation *generation, pid_t pid, ss_log_queue *log) {
    char name[32];
    read_of(pid, "comm", name, sizeof name);
    name[strcspn(name, "\n")] = '\0';
    ss_log_queue_format(log, SLIPSTREAM_LOG_WARN, generation->spec->values.log_id,
                        "process %d (%s), which the plugin has started, has left its worker's "
                        "process group and runs on: end it",
                        (int)pid, name);
}

void ss_generation_end_group(const ss_generation *generation, ss_log_queue *log) {
    kill_group(generation);
    DIR *all = log == NULL ? NULL : opendir("/proc");
    uint32_t told = 0;
    for (const struct dirent *one; all != NULL && told < TOLD_OF && (one = readdir(all)) != NULL;) {
        const pid_t pid = (pid_t)atoi(one->d_name);
        if (pid <= 0 || pid == generation->pid || getpgid(pid) == generation->pid ||
            !has_mark(pid, generation->mark))
            continue;
        tell(generation, pid, log);
        told++;
    }
    if (all != NULL)
        closedir(all);
}
