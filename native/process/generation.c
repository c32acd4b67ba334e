#include "process/generation.h"

#include "base/clock.h"
#include "base/text.h"
#include "library/file.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

enum {
    LINES_A_SECOND = 200,
    FIRST_FREE_FD = 16, /* above what the child gets under fixed numbers */
    REAP_WAIT_MS = 5000,
    SAY_WAIT_MS = 1000,
    FLUSH_MS = 60 * 1000, /* where callbacks may take as long as they like */
};

/* ---- Starting ---------------------------------------------------------------------- */

static void close_fd(int *fd) {
    if (*fd >= 0)
        close(*fd);
    *fd = -1;
}

/* Moves a descriptor out of the way of the fixed numbers. */
static int lift(int fd) {
    if (fd < 0 || fd >= FIRST_FREE_FD)
        return fd;
    const int high = fcntl(fd, F_DUPFD_CLOEXEC, FIRST_FREE_FD);
    close(fd);
    return high;
}

/* The environment that a worker gets: what programs need to find things, nothing else. */
static char **clean_environment(void) {
    static const char *const kept[] = {
        "PATH=", "HOME=", "USER=", "LOGNAME=", "LANG=", "LANGUAGE=", "LC_", "TZ=", "TMPDIR=",
        "LD_LIBRARY_PATH=", "SSL_CERT_", "RUST_BACKTRACE=", "ASAN_OPTIONS=", "UBSAN_OPTIONS=",
        "LSAN_OPTIONS=", "TSAN_OPTIONS=",
    };
    size_t count = 0;
    size_t used = 0;
    while (environ != NULL && environ[count] != NULL)
        count++;
    char **out = calloc(count + 1, sizeof *out);
    for (size_t i = 0; out != NULL && i < count; i++)
        for (size_t k = 0; k < sizeof kept / sizeof kept[0]; k++)
            if (strncmp(environ[i], kept[k], strlen(kept[k])) == 0) {
                out[used++] = environ[i];
                break;
            }
    return out;
}

typedef struct child_fds {
    int channel;
    int ring;
    int control;
    int host;
    int out;
    int err;
} child_fds;

static int spawn(const char *program, const child_fds *fds, pid_t *pid) {
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attributes;
    sigset_t none;
    sigset_t all;
    char host[16];
    char *const argv[] = {(char *)(uintptr_t)"slipstream-worker", host, NULL};
    char **environment = clean_environment();
    if (environment == NULL)
        return ENOMEM;
    snprintf(host, sizeof host, "%d", (int)getpid());
    sigemptyset(&none);
    sigfillset(&all);
    posix_spawn_file_actions_init(&actions);
    posix_spawnattr_init(&attributes);
    posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
    posix_spawn_file_actions_adddup2(&actions, fds->out, 1);
    posix_spawn_file_actions_adddup2(&actions, fds->err, 2);
    posix_spawn_file_actions_adddup2(&actions, fds->channel, SS_FD_CHANNEL);
    posix_spawn_file_actions_adddup2(&actions, fds->ring, SS_FD_RING);
    posix_spawn_file_actions_adddup2(&actions, fds->control, SS_FD_CONTROL);
    posix_spawn_file_actions_adddup2(&actions, fds->host, SS_FD_HOST);
    /* A host may block and ignore what it likes; its worker shall not inherit that. */
    posix_spawnattr_setsigmask(&attributes, &none);
    posix_spawnattr_setsigdefault(&attributes, &all);
    posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF |
                                              POSIX_SPAWN_SETSID);
    const int error = posix_spawn(pid, program, &actions, &attributes, argv, environment);
    posix_spawn_file_actions_destroy(&actions);
    posix_spawnattr_destroy(&attributes);
    free(environment);
    return error;
}

static bool make_pipe(int *read_end, int *write_end) {
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) != 0)
        return false;
    *read_end = lift(ends[0]);
    *write_end = lift(ends[1]);
    if (*read_end < 0 || *write_end < 0)
        return false;
    /* Neither side may wait: a full pipe drops what a plugin prints. */
    fcntl(*read_end, F_SETFL, O_NONBLOCK);
    fcntl(*write_end, F_SETFL, O_NONBLOCK);
    return true;
}

static size_t add_text(char *buffer, size_t room, size_t used, const char *text) {
    const size_t len = strlen(text) + 1;
    if (used == 0 || len > room - used)
        return 0;
    memcpy(buffer + used, text, len);
    return used + len;
}

static bool say_start(ss_generation *generation, size_t ring_bytes, uint32_t overflow) {
    const ss_spec *s = &generation->spec->values;
    char data[SS_MESSAGE_MAX];
    const ss_start start = {.ring_bytes = ring_bytes,
                            .memory = s->memory,
                            .open_files = s->open_files,
                            .log_id = s->log_id,
                            .log_level = s->log_level,
                            .overflow = overflow,
                            .flush_idle_ms = s->flush_idle_ms,
                            .max_attempts = s->max_attempts,
                            .core_files = s->core_files,
                            .flush_timeout_ms =
                                s->callback_timeout_ms != 0 ? s->callback_timeout_ms : FLUSH_MS};
    memcpy(data, &start, sizeof start);
    size_t used = sizeof start;
    used = add_text(data, sizeof data, used, s->path);
    used = add_text(data, sizeof data, used, s->shown);
    used = add_text(data, sizeof data, used, s->config_dir);
    used = add_text(data, sizeof data, used, s->data_dir);
    used = add_text(data, sizeof data, used, s->user);
    if (used > 0)
        ss_generation_say(generation, SS_TO_WORKER_START, 0, data, used);
    return used > 0;
}

ss_generation *ss_generation_start(const char *program, ss_kept_spec *spec, ss_ring *ring,
                                   uint32_t overflow, char *why, size_t room) {
    ss_generation *generation = calloc(1, sizeof *generation);
    child_fds child = {-1, -1, -1, -1, -1, -1};
    int pair[2] = {-1, -1};
    const char *step = "memory";
    int error = ENOMEM;
    if (generation == NULL)
        goto failed;
    generation->pidfd = generation->channel = generation->out.fd = generation->err.fd = -1;
    step = "a socket pair";
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) != 0)
        goto system_failed;
    generation->channel = lift(pair[0]);
    child.channel = lift(pair[1]);
    if (generation->channel < 0 || child.channel < 0)
        goto system_failed;
    fcntl(generation->channel, F_SETFL, O_NONBLOCK);
    const int send_room = 1024 * 1024; /* a whole config in pieces */
    setsockopt(generation->channel, SOL_SOCKET, SO_SNDBUF, &send_room, sizeof send_room);
    step = "pipes";
    if (!make_pipe(&generation->out.fd, &child.out) || !make_pipe(&generation->err.fd, &child.err))
        goto system_failed;
    step = "shared memory";
    int control_fd = -1;
    generation->control = ss_control_new(&control_fd);
    child.control = lift(control_fd);
    child.ring = lift(fcntl(ss_ring_fd(ring), F_DUPFD_CLOEXEC, FIRST_FREE_FD));
    if (generation->control == NULL || child.control < 0 || child.ring < 0)
        goto system_failed;
    step = "a pidfd";
    child.host = lift((int)syscall(SYS_pidfd_open, getpid(), 0));
    if (child.host < 0)
        goto system_failed;
    step = "the worker program";
    error = spawn(program, &child, &generation->pid);
    if (error != 0)
        goto failed;
    step = "a pidfd of the worker";
    generation->pidfd = (int)syscall(SYS_pidfd_open, generation->pid, 0);
    if (generation->pidfd < 0)
        goto system_failed;
    generation->spec = spec;
    spec->references++;
    generation->started_ns = ss_clock_ns(CLOCK_MONOTONIC);
    generation->deadline_ns =
        generation->started_ns + (uint64_t)spec->values.load_timeout_ms * 1000000;
    close_fd(&child.channel);
    close_fd(&child.ring);
    close_fd(&child.control);
    close_fd(&child.host);
    close_fd(&child.out);
    close_fd(&child.err);
    if (!say_start(generation, ss_ring_bytes(ring), overflow)) {
        snprintf(why, room, "the paths of the plugin are too long");
        ss_generation_free(generation, NULL);
        return NULL;
    }
    return generation;

system_failed:
    error = errno;
failed:
    snprintf(why, room, "cannot start %s: it needs %s: %s", program, step, strerror(error));
    close_fd(&child.channel);
    close_fd(&child.ring);
    close_fd(&child.control);
    close_fd(&child.host);
    close_fd(&child.out);
    close_fd(&child.err);
    ss_generation_free(generation, NULL);
    return NULL;
}

/* Not by its number, which may be another's: an application may reap what is not its own. */
static void send_kill(const ss_generation *generation) {
    if (generation->pidfd < 0)
        kill(generation->pid, SIGKILL);
    else
        syscall(SYS_pidfd_send_signal, generation->pidfd, SIGKILL, NULL, 0);
}

void ss_generation_free(ss_generation *generation, ss_ring *ring) {
    if (generation == NULL)
        return;
    if (generation->pid > 0) {
        struct pollfd end = {generation->pidfd, POLLIN, 0};
        siginfo_t info;
        send_kill(generation);
        if (generation->pidfd >= 0)
            poll(&end, 1, REAP_WAIT_MS);
        waitid(P_PID, (id_t)generation->pid, &info, WEXITED | WNOHANG);
    }
    close_fd(&generation->pidfd);
    close_fd(&generation->channel);
    close_fd(&generation->out.fd);
    close_fd(&generation->err.fd);
    if (generation->control != NULL &&
        (ring == NULL || ss_ring_get_control(ring) != generation->control))
        ss_control_free(generation->control);
    ss_kept_spec_release(generation->spec);
    free(generation->claims);
    free(generation);
}

/* ---- Talking ----------------------------------------------------------------------- */

void ss_generation_say(ss_generation *generation, uint32_t type, uint64_t number, const void *data,
                       size_t len) {
    ss_message head = {type, (uint32_t)len, number};
    struct iovec parts[2] = {{&head, sizeof head}, {(void *)(uintptr_t)data, len}};
    const struct msghdr message = {.msg_iov = parts, .msg_iovlen = 2};
    /* Only a long config fills the channel, and whoever waits for it reads. A worker that is
     * gone is found by its end. */
    while (sendmsg(generation->channel, &message, MSG_NOSIGNAL | MSG_DONTWAIT) < 0) {
        struct pollfd room = {generation->channel, POLLOUT, 0};
        if (errno != EINTR && errno != EAGAIN)
            return;
        if (errno == EAGAIN && poll(&room, 1, SAY_WAIT_MS) == 0) {
            ss_generation_kill(generation, "it does not read what the host says");
            return;
        }
    }
}

void ss_generation_say_load(ss_generation *generation, uint32_t reason) {
    const ss_spec *s = &generation->spec->values;
    for (size_t at = 0; at < s->config_len; at += SS_MESSAGE_MAX) {
        const size_t left = s->config_len - at;
        ss_generation_say(generation, SS_TO_WORKER_CONFIG, 0, s->config + at,
                          left < SS_MESSAGE_MAX ? left : SS_MESSAGE_MAX);
    }
    ss_generation_say(generation, SS_TO_WORKER_LOAD, reason, NULL, 0);
    generation->phase = SS_PHASE_LOADING;
    generation->deadline_ns = ss_clock_ns(CLOCK_MONOTONIC) + (uint64_t)s->load_timeout_ms * 1000000;
}

void ss_generation_kill(ss_generation *generation, const char *reason) {
    if (generation->kill_reason[0] == '\0')
        snprintf(generation->kill_reason, sizeof generation->kill_reason, "%s", reason);
    if (generation->pid > 0)
        send_kill(generation);
}

bool ss_generation_receive(ss_generation *generation, ss_message *head, char *data) {
    struct iovec parts[2] = {{head, sizeof *head}, {data, SS_MESSAGE_MAX}};
    struct msghdr message = {.msg_iov = parts, .msg_iovlen = 2};
    for (;;) {
        const ssize_t n = recvmsg(generation->channel, &message, MSG_DONTWAIT);
        if (n < 0 && errno == EINTR)
            continue;
        if (n == 0) /* the worker has closed its end; what it is worth shows when it ends */
            close_fd(&generation->channel);
        if (n <= 0)
            return false;
        if ((size_t)n >= sizeof *head && (message.msg_flags & MSG_TRUNC) == 0 &&
            head->len == (size_t)n - sizeof *head)
            return true;
        ss_generation_kill(generation, "it sent a message that makes no sense");
        return false;
    }
}

void ss_generation_keep_line(ss_generation *generation, const char *text, size_t len) {
    ss_text_escape(generation->lines[generation->next_line++ % SS_REPORT_LINES],
                   sizeof generation->lines[0], text, len);
}

static void tell_withheld(const ss_generation *generation, ss_lines *lines, ss_log_queue *log) {
    if (lines->withheld > 0)
        ss_log_queue_format(log, SLIPSTREAM_LOG_WARN, generation->spec->values.log_id,
                            "suppressed %u lines of output", lines->withheld);
    lines->withheld = 0;
}

static void put_line(ss_generation *generation, ss_lines *lines, ss_log_queue *log,
                     uint32_t level) {
    if (lines->used == 0)
        return;
    ss_generation_keep_line(generation, lines->line, lines->used);
    if (lines->tokens == 0) {
        lines->withheld++;
    } else {
        lines->tokens--;
        ss_log_queue_put(log, level, generation->spec->values.log_id, lines->line, lines->used);
    }
    lines->used = 0;
}

static void drain(ss_generation *generation, ss_lines *lines, ss_log_queue *log, uint32_t level) {
    char chunk[16 * 1024];
    ssize_t n = -1;
    int rounds = 16; /* others wait, too */
    const uint64_t second = ss_clock_ns(CLOCK_MONOTONIC) / 1000000000;
    if (second != lines->second) {
        tell_withheld(generation, lines, log);
        lines->second = second;
        lines->tokens = LINES_A_SECOND;
    }
    while (lines->fd >= 0 && rounds-- > 0 && (n = read(lines->fd, chunk, sizeof chunk)) > 0) {
        for (ssize_t i = 0; i < n; i++) {
            if (chunk[i] == '\n' || lines->used == sizeof lines->line)
                put_line(generation, lines, log, level);
            if (chunk[i] != '\n')
                lines->line[lines->used++] = chunk[i];
        }
    }
    if (n == 0)
        close_fd(&lines->fd); /* else its end would be reported again and again */
}

void ss_generation_drain(ss_generation *generation, ss_log_queue *log) {
    drain(generation, &generation->out, log, SLIPSTREAM_LOG_INFO);
    drain(generation, &generation->err, log, SLIPSTREAM_LOG_WARN);
}

static void end_lines(ss_generation *generation, ss_lines *lines, ss_log_queue *log,
                      uint32_t level) {
    put_line(generation, lines, log, level);
    tell_withheld(generation, lines, log);
}

void ss_generation_end_lines(ss_generation *generation, ss_log_queue *log) {
    end_lines(generation, &generation->out, log, SLIPSTREAM_LOG_INFO);
    end_lines(generation, &generation->err, log, SLIPSTREAM_LOG_WARN);
}

/* ---- The end ----------------------------------------------------------------------- */

static void copy_fault(const ss_control *control, ss_report *report) {
    ss_fault fault;
    memcpy(&fault, &control->fault, sizeof fault); /* hostile, and so is the path in it */
    if (fault.written == 0)
        return;
    report->has_fault = 1;
    report->code = fault.code;
    report->address = fault.address;
    report->pc = fault.pc;
    report->sp = fault.sp;
    report->module_start = fault.module_start;
    report->module_offset = fault.module_offset;
    report->registers = fault.registers < SS_REPORT_REGISTERS ? fault.registers : SS_REPORT_REGISTERS;
    memcpy(report->values, fault.values, sizeof report->values);
    fault.module[sizeof fault.module - 1] = '\0';
    ss_text_escape(report->module, sizeof report->module, fault.module, strlen(fault.module));
    ss_file_build_id(fault.module, report->build_id, sizeof report->build_id);
}

bool ss_generation_reap(ss_generation *generation, ss_report *report) {
    struct pollfd end = {generation->pidfd, POLLIN, 0};
    siginfo_t info;
    if (generation->pid <= 0 || poll(&end, 1, 0) != 1)
        return false;
    memset(report, 0, sizeof *report);
    memset(&info, 0, sizeof info);
    report->pid = generation->pid;
    report->exit_code = -1;
    report->time_ns = (int64_t)ss_clock_ns(CLOCK_REALTIME);
    report->uptime_ms = (ss_clock_ns(CLOCK_MONOTONIC) - generation->started_ns) / 1000000;
    /* An application that ignores SIGCHLD takes the status away; then only a signal that the
     * worker itself could note is known. */
    if (waitid(P_PIDFD, (id_t)generation->pidfd, &info, WEXITED | WNOHANG) == 0 &&
        info.si_pid == generation->pid) {
        if (info.si_code == CLD_EXITED)
            report->exit_code = info.si_status;
        else
            report->signal = info.si_status;
    }
    copy_fault(generation->control, report);
    if (info.si_pid == 0 && report->has_fault && generation->control->fault.signal > 0 &&
        generation->control->fault.signal < NSIG)
        report->signal = generation->control->fault.signal;
    if (generation->kill_reason[0] != '\0')
        snprintf(report->reason, sizeof report->reason, "killed by the host: %s",
                 generation->kill_reason);
    else if (report->signal != 0)
        snprintf(report->reason, sizeof report->reason, "died of signal %d (%s)", report->signal,
                 strsignal(report->signal));
    else if (report->exit_code >= 0)
        snprintf(report->reason, sizeof report->reason, "ended by itself with exit code %d",
                 report->exit_code);
    else
        snprintf(report->reason, sizeof report->reason, "ended; its status is not known");
    for (uint32_t i = 0; i < SS_REPORT_LINES; i++) {
        const uint32_t from = (generation->next_line + i) % SS_REPORT_LINES;
        memcpy(report->lines[i], generation->lines[from], sizeof report->lines[i]);
    }
    generation->pid = 0;
    return true;
}
