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
};

void ss_close_fd(int *fd) {
    if (*fd >= 0)
        close(*fd);
    *fd = -1;
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
        ss_generation_end_group(generation, NULL);
        waitid(P_PID, (id_t)generation->pid, &info, WEXITED | WNOHANG);
    }
    ss_close_fd(&generation->pidfd);
    ss_close_fd(&generation->channel);
    ss_close_fd(&generation->out.fd);
    ss_close_fd(&generation->err.fd);
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
    if (generation->pid > 0)
        send_kill(generation);
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
    if (generation->pid <= 0 || poll(&end, 1, 0) != 1)
        return false;
    ss_generation_end_group(generation, log);
    ss_report_fill(report, generation);
    generation->pid = 0;
    return true;
}
