/* spawn: starts a worker, with what it is to have and nothing else of the host. */
#include "process/generation.h"

#include "base/clock.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

enum {
    CHILD_FDS = SS_FD_HATCH + 1,
    FIRST_FREE_FD = 16, /* above what the child gets under fixed numbers */
    SEND_ROOM = 1024 * 1024, /* a whole config in pieces */
};

static const char WORKER[] = "the worker program";

/* ---- Descriptors ------------------------------------------------------------------- */

static int copy_above(int fd) {
    const int high = fcntl(fd, F_DUPFD_CLOEXEC, FIRST_FREE_FD);
    if (high < 0 && errno == EINVAL)
        errno = EMFILE; /* the limit lies below that number */
    return high;
}

/* Moves a descriptor out of the way of the fixed numbers. */
static int lift(int fd) {
    if (fd < 0 || fd >= FIRST_FREE_FD)
        return fd;
    const int high = copy_above(fd);
    close(fd);
    return high;
}

static bool lift_pair(const int ends[2], int *ours, int *childs) {
    *ours = lift(ends[0]);
    *childs = lift(ends[1]);
    return *ours >= 0 && *childs >= 0 && fcntl(*ours, F_SETFL, O_NONBLOCK) == 0;
}

static bool make_channel(int *ours, int *childs) {
    const int room = SEND_ROOM;
    int ends[2];
    return socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) == 0 &&
           lift_pair(ends, ours, childs) &&
           setsockopt(*ours, SOL_SOCKET, SO_SNDBUF, &room, sizeof room) == 0;
}

/* Neither side may wait: a full pipe drops what a plugin prints. */
static bool make_pipe(int *ours, int *childs) {
    int ends[2];
    return pipe2(ends, O_CLOEXEC) == 0 && lift_pair(ends, ours, childs) &&
           fcntl(*childs, F_SETFL, O_NONBLOCK) == 0;
}

/* Where it asks the application, if it may. */
static bool open_hatch(ss_generation *generation, int *childs) {
    const ss_spec *s = &generation->spec->values;
    int fd = -1;
    if (s->desk == NULL || s->terms->offers == 0)
        return true;
    generation->side = ss_desk_open(s->desk, s->terms, s->log_id, &fd);
    *childs = lift(fd);
    return generation->side != 0 && *childs >= 0;
}

/* Makes what host and worker share, the worker's ends under the numbers that it finds them
 * at. NULL, or what could not be had, with errno set. */
static const char *make_descriptors(ss_generation *generation, const ss_ring *ring,
                                    int child[CHILD_FDS]) {
    int control = -1;
    if (!make_channel(&generation->channel, &child[SS_FD_CHANNEL]))
        return "a socket pair";
    if (!make_pipe(&generation->out.fd, &child[STDOUT_FILENO]) ||
        !make_pipe(&generation->err.fd, &child[STDERR_FILENO]))
        return "pipes";
    generation->control = ss_control_new(&control);
    child[SS_FD_CONTROL] = lift(control);
    child[SS_FD_RING] = copy_above(ss_ring_fd(ring));
    if (generation->control == NULL || child[SS_FD_CONTROL] < 0 || child[SS_FD_RING] < 0)
        return "shared memory";
    if (!open_hatch(generation, &child[SS_FD_HATCH]))
        return "shared memory for its calls";
    child[SS_FD_HOST] = lift((int)syscall(SYS_pidfd_open, getpid(), 0));
    return child[SS_FD_HOST] < 0 ? "a pidfd" : NULL;
}

/* ---- The program ------------------------------------------------------------------- */

/* The environment that a worker gets: what programs need to find things, and a mark by which
 * those are found that it starts; nothing else. */
static char **clean_environment(char *mark) {
    static const char *const kept[] = {
        "PATH=", "HOME=", "USER=", "LOGNAME=", "LANG=", "LANGUAGE=", "LC_", "TZ=", "TMPDIR=",
        "LD_LIBRARY_PATH=", "SSL_CERT_", "RUST_BACKTRACE=", "ASAN_OPTIONS=", "UBSAN_OPTIONS=",
        "LSAN_OPTIONS=", "TSAN_OPTIONS=",
    };
    size_t count = 0;
    size_t used = 0;
    while (environ != NULL && environ[count] != NULL)
        count++;
    char **out = calloc(count + 2, sizeof *out);
    if (out != NULL)
        out[used++] = mark;
    for (size_t i = 0; out != NULL && i < count; i++)
        for (size_t k = 0; k < sizeof kept / sizeof kept[0]; k++)
            if (strncmp(environ[i], kept[k], strlen(kept[k])) == 0) {
                out[used++] = environ[i];
                break;
            }
    return out;
}

static int spawn(ss_generation *generation, const char *program, const char *name,
                 const int child[CHILD_FDS]) {
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attributes;
    sigset_t none;
    sigset_t all;
    char host[16];
    char *const argv[] = {(char *)(uintptr_t) "slipstream-worker", host,
                          (char *)(uintptr_t)name, NULL};
    snprintf(generation->mark, sizeof generation->mark, "SLIPSTREAM_WORKER=%d-%llu",
             (int)getpid(), (unsigned long long)ss_os_now_ns());
    char **environment = clean_environment(generation->mark);
    if (environment == NULL)
        return ENOMEM;
    snprintf(host, sizeof host, "%d", (int)getpid());
    sigemptyset(&none);
    sigfillset(&all);
    posix_spawn_file_actions_init(&actions);
    posix_spawnattr_init(&attributes);
    posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
    for (int fd = STDOUT_FILENO; fd < CHILD_FDS; fd++)
        if (child[fd] >= 0)
            posix_spawn_file_actions_adddup2(&actions, child[fd], fd);
        else /* nothing of the host's, and nothing of the worker's own later on */
            posix_spawn_file_actions_addopen(&actions, fd, "/dev/null", O_RDONLY, 0);
    /* A host may block and ignore what it likes; its worker shall not inherit that. */
    posix_spawnattr_setsigmask(&attributes, &none);
    posix_spawnattr_setsigdefault(&attributes, &all);
    /* A group of its own, so that Ctrl-C is the host's alone; not a session, which the scheduler
     * would take for somebody else's work: between two of those a yield finds nobody. What else a
     * session keeps away the worker does by itself: see ss_worker_leave_terminal. */
    posix_spawnattr_setpgroup(&attributes, 0);
    posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF |
                                              POSIX_SPAWN_SETPGROUP);
    const int error = posix_spawn(&generation->pid, program, &actions, &attributes, argv, environment);
    posix_spawn_file_actions_destroy(&actions);
    posix_spawnattr_destroy(&attributes);
    free(environment);
    return error;
}

static bool say_start(ss_generation *generation, size_t ring_bytes, uint32_t overflow) {
    const ss_spec *s = &generation->spec->values;
    const ss_start start = {.ring_bytes = ring_bytes,
                            .memory = s->memory,
                            .open_files = s->open_files,
                            .kinds = s->kinds,
                            .log_id = s->log_id,
                            .log_level = s->log_level,
                            .overflow = overflow,
                            .flush_idle_ms = s->flush_idle_ms,
                            .retry_initial_ms = s->retry_initial_ms,
                            .retry_max_ms = s->retry_max_ms,
                            .retry_max_time_ms = s->retry_max_time_ms,
                            .core_files = s->core_files,
                            .terms = generation->side == 0 ? (ss_terms){0} : *s->terms,
                            .flush_timeout_ms = s->callback_timeout_ms != 0
                                                    ? s->callback_timeout_ms
                                                    : SLIPSTREAM_NO_TIMEOUT};
    ss_body body;
    ss_body_start(&body, &start, sizeof start);
    ss_body_add_text(&body, s->path);
    ss_body_add_text(&body, s->shown);
    ss_body_add_text(&body, s->config_dir);
    ss_body_add_text(&body, s->user);
    if (!body.is_cut)
        ss_generation_say(generation, SS_TO_WORKER_START, 0, body.data, body.len);
    return !body.is_cut;
}

/* What to do where something was not to be had. */
static const char *advice(const char *missing, int error) {
    if (strcmp(missing, WORKER) == 0 && error == EACCES)
        return "that file has to be executable, on a filesystem that is not mounted noexec";
    if (strcmp(missing, WORKER) == 0 && error == ENOENT)
        return "install slipstream again: that file is missing, or the loader that it names";
    if (strcmp(missing, WORKER) == 0 && error == ENOEXEC)
        return "install slipstream again: that file is no program for this system";
    if (error == EPERM || error == EACCES || error == ENOSYS || error == EINVAL)
        return "the kernel, or a sandbox around this process (seccomp), refuses what mode process "
               "needs: allow it there, or use mode: 'thread'; `slipstream doctor` tests all of it";
    if (error == EMFILE || error == ENFILE)
        return "raise the limit on open files: ulimit -n";
    return "check the limits on processes, descriptors and memory: ulimit -a";
}

ss_generation *ss_generation_start(const char *program, ss_kept_spec *spec, ss_ring *ring,
                                   uint32_t overflow, ss_no_start *why) {
    int child[CHILD_FDS] = {-1, -1, -1, -1, -1, -1, -1, -1};
    ss_generation *generation = calloc(1, sizeof *generation);
    const char *missing = "memory";
    int error = ENOMEM;
    if (generation != NULL) {
        generation->spec = spec;
        spec->references++;
        generation->pidfd = generation->channel = generation->out.fd = generation->err.fd = -1;
        generation->out.level = SLIPSTREAM_LOG_INFO;
        generation->err.level = SLIPSTREAM_LOG_WARN;
        missing = make_descriptors(generation, ring, child);
        error = errno;
    }
    if (missing == NULL) {
        error = spawn(generation, program, spec->values.name, child);
        missing = error != 0 ? WORKER : NULL;
    }
    if (missing == NULL) {
        generation->pidfd = (int)syscall(SYS_pidfd_open, generation->pid, 0);
        error = errno;
        missing = generation->pidfd < 0 ? "a pidfd of the worker" : NULL;
    }
    for (int fd = 0; fd < CHILD_FDS; fd++)
        ss_close_fd(&child[fd]);
    if (missing != NULL) {
        snprintf(why->text, sizeof why->text, "cannot start %s: it needs %s: %s", program, missing,
                 strerror(error));
        why->hint = advice(missing, error);
        ss_generation_free(generation, NULL);
        return NULL;
    }
    generation->started_ns = ss_os_now_ns();
    ss_oom_start(generation);
    generation->deadline_ns =
        generation->started_ns + (uint64_t)spec->values.load_timeout_ms * 1000000;
    if (!say_start(generation, ss_ring_bytes(ring), overflow)) {
        snprintf(why->text, sizeof why->text, "the paths of the plugin are too long");
        why->hint = "put the library and its config into a folder with a shorter path";
        ss_generation_free(generation, NULL);
        return NULL;
    }
    return generation;
}
