#include "process/generation.h"

#include "base/clock.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

enum {
    REAP_WAIT_MS = 5000,
    SAY_WAIT_MS = 1000,
    ABORT_MS = 200, /* from SIGABRT to SIGKILL */
    FAULT_MS = 1000, /* for noting what is known of a deadly signal */
    LEAVE_MS = 1000, /* for one that may not be signalled to end by itself */
};

void ss_close_fd(int *fd) {
    if (*fd >= 0)
        close(*fd);
    *fd = -1;
}

/* Not by its number, which may be another's: an application may reap what is not its own. */
static void send_signal(ss_generation *generation, int number) {
    const long failed =
        generation->pidfd < 0 ? kill(generation->pid, number)
                              : syscall(SYS_pidfd_send_signal, generation->pidfd, number, NULL, 0);
    if (failed == 0 || errno != EPERM || generation->left_ns != 0)
        return;
    /* It runs as another user now: without its channel it ends, if it looks. */
    ss_close_fd(&generation->channel);
    generation->left_ns = ss_os_now_ns() + LEAVE_MS * UINT64_C(1000000);
}

/* Without a pidfd nothing tells of its end, and it is looked for again and again. */
static void reap(const ss_generation *generation) {
    siginfo_t info = {0};
    for (int ms = 0; ms < REAP_WAIT_MS; ms++) {
        const int failed = waitid(P_PID, (id_t)generation->pid, &info, WEXITED | WNOHANG);
        if (failed != 0 || info.si_pid != 0 || generation->pidfd >= 0)
            return;
        poll(NULL, 0, 1);
    }
}

void ss_generation_free(ss_generation *generation, ss_ring *ring) {
    if (generation == NULL)
        return;
    if (generation->pid > 0) {
        struct pollfd end = {generation->pidfd, POLLIN, 0};
        send_signal(generation, SIGKILL);
        if (generation->pidfd >= 0)
            poll(&end, 1, generation->left_ns != 0 ? LEAVE_MS : REAP_WAIT_MS);
        ss_generation_end_group(generation, NULL);
        reap(generation);
    }
    ss_close_fd(&generation->pidfd);
    ss_close_fd(&generation->channel);
    ss_close_fd(&generation->out.fd);
    ss_close_fd(&generation->err.fd);
    if (generation->control != NULL &&
        (ring == NULL || ss_ring_get_control(ring) != generation->control))
        ss_control_free(generation->control);
    if (generation->side != 0)
        ss_desk_leave(generation->spec->values.desk, generation->side);
    ss_kept_spec_release(generation->spec);
    free(generation->claims);
    free(generation);
}

/* ---- Talking ----------------------------------------------------------------------- */

void ss_generation_say(ss_generation *generation, uint32_t type, uint64_t number, const void *data,
                       size_t len) {
    /* Only a long config fills the channel, and whoever waits for it reads. A worker that is
     * gone is found by its end. */
    while (!ss_message_send(generation->channel, type, number, data, len, MSG_DONTWAIT)) {
        struct pollfd room = {generation->channel, POLLOUT, 0};
        if (errno != EAGAIN)
            return;
        if (poll(&room, 1, SAY_WAIT_MS) == 0) {
            ss_generation_kill(generation, "it does not read what the host says");
            return;
        }
    }
}

void ss_generation_say_load(ss_generation *generation, uint32_t reason) {
    const ss_kept_spec *spec = generation->spec;
    const char *data_dir = spec->data_dir == NULL ? "" : spec->data_dir;
    for (size_t at = 0; at < spec->config_len; at += SS_MESSAGE_MAX) {
        const size_t left = spec->config_len - at;
        ss_generation_say(generation, SS_TO_WORKER_CONFIG, 0, spec->config + at,
                          left < SS_MESSAGE_MAX ? left : SS_MESSAGE_MAX);
    }
    ss_generation_say(generation, SS_TO_WORKER_LOAD, reason, data_dir, strlen(data_dir) + 1);
    generation->deadline_ns = ss_os_now_ns() + (uint64_t)spec->values.load_timeout_ms * 1000000;
}

void ss_generation_kill(ss_generation *generation, const char *reason) {
    if (generation->kill_reason[0] == '\0')
        snprintf(generation->kill_reason, sizeof generation->kill_reason, "%s", reason);
    if (generation->pid <= 0 || generation->kill_ns != 0)
        return;
    generation->kill_ns = ss_os_now_ns() + ABORT_MS * UINT64_C(1000000);
    send_signal(generation, SIGABRT);
}

/* It notes what is known of a deadly signal, and may hang at that: it met it anywhere. */
static void finish_fault(ss_generation *generation, uint64_t now) {
    if (generation->fault_ns == 0 && generation->control->fault.signal != 0) /* hostile */
        generation->fault_ns = now;
    if (generation->fault_ns != 0 && !generation->spec->values.core_files &&
        now - generation->fault_ns >= FAULT_MS * UINT64_C(1000000))
        send_signal(generation, SIGKILL);
}

void ss_generation_finish_kill(ss_generation *generation, uint64_t now) {
    finish_fault(generation, now);
    if (generation->kill_ns == 0 || now < generation->kill_ns || generation->left_ns != 0)
        return;
    send_signal(generation, SIGKILL);
}

bool ss_generation_receive(ss_generation *generation, ss_message *head, char *data) {
    const int taken = ss_message_receive(generation->channel, head, data, MSG_DONTWAIT);
    if (taken == 0) /* the worker has closed its end; what it is worth shows when it ends */
        ss_close_fd(&generation->channel);
    if (taken < 0 && errno == EBADMSG)
        ss_generation_kill(generation, "it sent a message that makes no sense");
    return taken > 0;
}

/* ---- What it prints, and its end ----------------------------------------------------- */

void ss_generation_drain(ss_generation *generation, ss_log_queue *log) {
    const uint32_t log_id = generation->spec->values.log_id;
    ss_lines_drain(&generation->out, &generation->last, log, log_id);
    ss_lines_drain(&generation->err, &generation->last, log, log_id);
}

void ss_generation_end_lines(ss_generation *generation, ss_log_queue *log) {
    const uint32_t log_id = generation->spec->values.log_id;
    ss_lines_end(&generation->out, &generation->last, log, log_id);
    ss_lines_end(&generation->err, &generation->last, log, log_id);
}

bool ss_generation_reap(ss_generation *generation, ss_report *report, ss_log_queue *log) {
    struct pollfd end = {generation->pidfd, POLLIN, 0};
    const bool is_left = generation->left_ns != 0 && ss_os_now_ns() >= generation->left_ns;
    if (generation->pid <= 0 || (poll(&end, 1, 0) != 1 && !is_left))
        return false;
    ss_generation_end_group(generation, log);
    ss_report_fill(report, generation);
    generation->pid = 0;
    return true;
}
