/* worker: main() of slipstream-worker, the process in which a plugin runs in process mode.
 *
 * The main thread talks to the host: it reads the channel, watches a pidfd of the host and
 * ends with it. All code of the plugin runs on the instance's thread, as in the host. */
#include "base/clock.h"
#include "consumer/consume.h"
#include "plugin/instance.h"
#include "process/protocol.h"
#include "process/worker_faults.h"
#include "process/worker_setup.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

enum {
    STEP_SLICE_MS = 50,
    METRICS_EVERY_MS = 1000,
};

/* How far it is: each message of the host has its turn. ENDED: the consumer has returned; OVER: it
 * was refused, or is unloaded, and only the end is left. */
enum stage { NEW, OPENED, LOADED, RUNNING, ENDED, OVER };

static struct worker {
    enum stage stage;
    ss_start start;
    ss_log_queue *log;
    ss_instance *instance;
    ss_consumer consumer;
    int channel;
    int ended; /* eventfd: the consumer has returned */
    uint32_t end_reason;
    char *config;
    size_t config_len;
    uint64_t sent_bits[SS_SERIES_MAX];
} worker;

/* ---- Talking to the host --------------------------------------------------------- */

static void host_is_gone(void) {
    _exit(SS_EXIT_HOST_GONE);
}

/* What the host says makes sense, or there is nothing to be done. */
static void expect(bool sense) {
    if (!sense)
        _exit(SS_EXIT_PROTOCOL);
}

/* Sends one message; `wait` false drops it when the host does not read. */
static void tell_parts(uint32_t type, uint64_t number, ss_part first, ss_part second, bool wait) {
    if (!ss_message_send_parts(worker.channel, type, number, first, second,
                               wait ? 0 : MSG_DONTWAIT) &&
        (errno == EPIPE || errno == ECONNRESET))
        host_is_gone();
}

static void tell(uint32_t type, uint64_t number, const void *data, size_t len, bool wait) {
    tell_parts(type, number, (ss_part){data, len}, (ss_part){0}, wait);
}

/* In parts: the stack of a plugin's thread may be small. */
static void send_log(int64_t time_ns, uint32_t level, const char *text, size_t len,
                     uint64_t whole) {
    const ss_logged head = {time_ns, whole};
    tell_parts(SS_TO_HOST_LOG, level, (ss_part){&head, sizeof head}, (ss_part){text, len}, false);
}

static bool host_lives(void) {
    struct pollfd host = {SS_FD_HOST, POLLIN, 0};
    return poll(&host, 1, 0) <= 0; /* -1: a signal came instead, which says nothing of the host */
}

/* Waits for a step of the instance, if it began; its deadline is the host's, who kills us. */
static void finish_step(int32_t begun) {
    if (begun != SLIPSTREAM_OK)
        _exit(SS_EXIT_SET_UP);
    while (ss_instance_wait(worker.instance, STEP_SLICE_MS) != SLIPSTREAM_OK)
        if (!host_lives())
            host_is_gone();
}

/* ---- Set-up ------------------------------------------------------------------------ */

static void refuse(uint32_t refusal, const char *text, const char *hint) {
    ss_body body;
    ss_body_start(&body, NULL, 0);
    ss_body_add_text(&body, text);
    ss_body_add_text(&body, hint);
    tell(SS_TO_HOST_REFUSED, refusal, body.data, body.len, true);
}

static void refuse_user(const char *user, const char *failed, int error) {
    char text[512];
    if (error == 0) {
        snprintf(text, sizeof text, "there is no user %s on this system", user);
        refuse(SS_REFUSED_CANNOT_OPEN, text, "let `user` name one of those in: getent passwd");
        return;
    }
    snprintf(text, sizeof text, "the worker cannot become the user %s: %s: %s", user, failed,
             strerror(error));
    refuse(SS_REFUSED_CANNOT_OPEN, text,
           "`user` needs a host with CAP_SETUID and CAP_SETGID, as root has them; in a user "
           "namespace (a container) that user and its groups have to be mapped, too; or leave "
           "`user` out");
}

static bool set_hatch(void) {
    const ss_terms *terms = &worker.start.terms;
    ss_hatch_map *map = terms->offers == 0 ? NULL : ss_hatch_open(terms, SS_FD_HATCH);
    close(SS_FD_HATCH); /* it is there also without a hatch */
    return terms->offers == 0 ||
           (map != NULL && ss_instance_set_hatch(worker.instance, map) == SLIPSTREAM_OK);
}

static void on_start(const char *data, size_t len) {
    const char *end = data + len;
    const char *at = data + sizeof worker.start;
    expect(len >= sizeof worker.start);
    worker.stage = OVER;
    memcpy(&worker.start, data, sizeof worker.start);
    const char *path = ss_next_text(&at, end);
    const char *shown = ss_next_text(&at, end);
    const char *config_dir = ss_next_text(&at, end);
    const char *user = ss_next_text(&at, end);
    expect(at == end);
    if (!ss_worker_map(&worker.start, &worker.consumer.view)) {
        refuse(SS_REFUSED_CANNOT_OPEN, "the worker cannot map the ring: no address space or memory",
               "use a smaller `ring_bytes`, or raise `limits.memory`");
        return;
    }
    ss_catch_faults(&worker.consumer.view.control->fault);
    const char *failed = "";
    if (!ss_worker_confine(&worker.start, user, &failed)) {
        refuse_user(user, failed, errno);
        return;
    }
    ss_log_queue_set_level(worker.log, worker.start.log_level);
    worker.instance = ss_instance_new(worker.log, worker.start.log_id, path, shown, config_dir);
    if (worker.instance == NULL) {
        refuse(SS_REFUSED_CANNOT_OPEN, "the worker has no memory or no thread for the plugin",
               "raise `limits.memory`");
        return;
    }
    ss_instance_allow_kinds(worker.instance, worker.start.kinds);
    if (!set_hatch()) {
        refuse(SS_REFUSED_CANNOT_OPEN, "the worker cannot map the memory for its calls",
               "raise `limits.memory`");
        return;
    }
    finish_step(ss_instance_call(worker.instance, ss_note_plugin_thread, NULL));
    finish_step(ss_instance_open(worker.instance));
    ss_instance_info info;
    ss_instance_describe(worker.instance, &info);
    if (info.refusal != SS_REFUSED_NOTHING) {
        refuse(info.refusal, info.text, info.hint);
        return;
    }
    const ss_opened opened = {info.flags, info.abi_minor, info.min_host_minor};
    ss_body body;
    ss_body_start(&body, &opened, sizeof opened);
    ss_body_add_text(&body, info.name);
    ss_body_add_text(&body, info.version);
    worker.stage = OPENED;
    tell(SS_TO_HOST_OPENED, 0, body.data, body.len, true);
}

/* Not realloc, which leaves secrets behind where the old piece lay. */
static void on_config(const char *data, size_t len) {
    char *config = malloc(worker.config_len + len);
    if (config == NULL)
        _exit(SS_EXIT_SET_UP);
    if (worker.config != NULL) {
        memcpy(config, worker.config, worker.config_len);
        explicit_bzero(worker.config, worker.config_len);
        free(worker.config);
    }
    memcpy(config + worker.config_len, data, len);
    worker.config = config;
    worker.config_len += len;
}

static void on_load(uint32_t reason, const char *data, size_t len) {
    const char *data_dir = ss_next_text(&data, data + len);
    ss_body body;
    worker.stage = OVER;
    ss_body_start(&body, NULL, 0);
    if (data_dir[0] != '\0' && ss_instance_set_data_dir(worker.instance, data_dir) != SLIPSTREAM_OK)
        _exit(SS_EXIT_SET_UP);
    finish_step(ss_instance_load(worker.instance, worker.config == NULL ? "" : worker.config,
                                 worker.config_len, reason));
    if (worker.config != NULL)
        explicit_bzero(worker.config, worker.config_len);
    free(worker.config);
    worker.config = NULL;
    ss_instance_info info;
    ss_instance_describe(worker.instance, &info);
    if (info.refusal != SS_REFUSED_NOTHING) {
        refuse(info.refusal, info.text, info.hint);
        return;
    }
    if (info.status != SLIPSTREAM_OK) {
        ss_body_add_text(&body, info.text);
        if (ss_instance_close(worker.instance) == SLIPSTREAM_OK)
            finish_step(SLIPSTREAM_OK); /* the host ends us when it has heard */
        tell(SS_TO_HOST_FAILED_LOAD, (uint64_t)(int64_t)info.status, body.data, body.len, true);
        return;
    }
    worker.stage = LOADED;
    worker.consumer.kinds = info.kinds;
    const char *claim;
    for (uint32_t i = 0; (claim = ss_instance_claim(worker.instance, i)) != NULL; i++)
        ss_body_add_text(&body, claim);
    tell(SS_TO_HOST_LOADED, info.kinds, body.data, body.len, true);
}

/* ---- Events ------------------------------------------------------------------------ */

/* An event that was refused for good: the host writes it down while it is in the ring. */
static void refused(void *context, const ss_letter *letter, uint32_t number) {
    char told[sizeof(ss_refused_event) + SLIPSTREAM_ERROR_MAX];
    const ss_refused_event refusal = {letter->status, letter->attempts, number};
    const size_t len =
        letter->text_len < SLIPSTREAM_ERROR_MAX ? letter->text_len : SLIPSTREAM_ERROR_MAX;
    (void)context;
    memcpy(told, &refusal, sizeof refusal);
    if (len > 0)
        memcpy(told + sizeof refusal, letter->text, len);
    tell(SS_TO_HOST_REFUSAL, letter->ordinal, told, sizeof refusal + len, true);
}

static void consume(void *unused) {
    const uint64_t one = 1;
    (void)unused;
    worker.end_reason = ss_consume(&worker.consumer);
    if (write(worker.ended, &one, sizeof one) != sizeof one)
        _exit(SS_EXIT_SET_UP);
}

static void on_run(void) {
    worker.stage = RUNNING;
    worker.consumer.table = ss_instance_table(worker.instance);
    worker.consumer.host = ss_instance_host(worker.instance);
    worker.consumer.flush_idle_ms = worker.start.flush_idle_ms;
    worker.consumer.flush_timeout_ms = worker.start.flush_timeout_ms;
    worker.consumer.retry = (ss_retry_bounds){worker.start.retry_initial_ms,
                                              worker.start.retry_max_ms,
                                              worker.start.retry_max_time_ms};
    worker.consumer.refused = refused;
    if (ss_instance_call(worker.instance, consume, NULL) != SLIPSTREAM_OK)
        _exit(SS_EXIT_PROTOCOL);
}

static void on_ended(void) {
    uint64_t count;
    if (read(worker.ended, &count, sizeof count) != sizeof count)
        _exit(SS_EXIT_SET_UP); /* the plugin has closed it */
    finish_step(SLIPSTREAM_OK);
    worker.stage = ENDED;
    tell(SS_TO_HOST_ENDED, worker.end_reason, NULL, 0, true);
}

static void send_metrics(void) {
    ss_metric metric;
    for (uint32_t i = 0; worker.instance != NULL &&
                         ss_instance_metric(worker.instance, i, &metric) == SLIPSTREAM_OK;
         i++) {
        uint64_t bits = metric.count;
        ss_body body;
        if (metric.is_gauge)
            memcpy(&bits, &metric.gauge, sizeof bits);
        if (worker.sent_bits[i] == bits && bits != 0)
            continue;
        worker.sent_bits[i] = bits;
        ss_body_start(&body, &metric.is_gauge, sizeof metric.is_gauge);
        ss_body_add_text(&body, metric.name);
        ss_body_add_text(&body, metric.label);
        tell(SS_TO_HOST_METRIC, bits, body.data, body.len, false);
    }
}

static void on_unload(uint32_t timeout_ms) {
    ss_body body;
    worker.stage = OVER;
    finish_step(ss_instance_unload(worker.instance, timeout_ms));
    send_metrics();
    ss_instance_info info;
    ss_instance_describe(worker.instance, &info);
    ss_body_start(&body, NULL, 0);
    if (info.status != SLIPSTREAM_OK)
        ss_body_add_text(&body, info.text);
    tell(SS_TO_HOST_UNLOADED, (uint64_t)(int64_t)info.status, body.data, body.len, true);
}

static void on_exit_asked(void) {
    if (worker.instance != NULL && ss_instance_close(worker.instance) == SLIPSTREAM_OK)
        finish_step(SLIPSTREAM_OK);
    ss_log_queue_tell_withheld(worker.log, 1);
    exit(0);
}

/* ---- The loop ---------------------------------------------------------------------- */

static void on_message(const ss_message *head, const char *data) {
    const enum stage stage = worker.stage;
    switch (head->type) {
    case SS_TO_WORKER_START:
        expect(stage == NEW);
        on_start(data, head->len);
        break;
    case SS_TO_WORKER_CONFIG:
        expect(stage == OPENED);
        on_config(data, head->len);
        break;
    case SS_TO_WORKER_LOAD:
        expect(stage == OPENED);
        on_load((uint32_t)head->number, data, head->len);
        break;
    case SS_TO_WORKER_RUN:
        expect(stage == LOADED);
        on_run();
        break;
    case SS_TO_WORKER_UNLOAD:
        expect(stage == ENDED);
        on_unload((uint32_t)head->number);
        break;
    default:
        expect(head->type == SS_TO_WORKER_EXIT && stage != RUNNING);
        on_exit_asked();
    }
}

static void receive(void) {
    static char data[SS_MESSAGE_ROOM];
    ss_message head;
    const int taken = ss_message_receive(worker.channel, &head, data, 0);
    if (taken < 0 && errno == EBADMSG)
        _exit(SS_EXIT_PROTOCOL);
    if (taken <= 0)
        host_is_gone();
    on_message(&head, data);
    explicit_bzero(data, head.len); /* it may have held a secret */
}

int main(int argc, char **argv) {
    const pid_t host = argc == 3 ? (pid_t)atoi(argv[1]) : 0;
    /* Nothing of the host but what is meant for us. */
    syscall(SYS_close_range, SS_FD_HATCH + 1, ~0U, 0);
    if (host == 0 || fcntl(SS_FD_HOST, F_GETFD) < 0) {
        fprintf(stderr, "slipstream-worker is started by a slipstream host, not by hand\n");
        return 2;
    }
    for (int fd = SS_FD_CHANNEL; fd <= SS_FD_HATCH; fd++)
        fcntl(fd, F_SETFD, FD_CLOEXEC);
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    char name[16];
    snprintf(name, sizeof name, "slip-%s", argv[2]);
    prctl(PR_SET_NAME, name); /* `ps` and `top` show whose worker it is */
    ss_worker_leave_terminal();
    ss_worker_offer_itself();
    worker.channel = SS_FD_CHANNEL;
    worker.ended = eventfd(0, EFD_CLOEXEC);
    worker.log = ss_log_queue_new(128 * 1024);
    if (worker.ended < 0 || worker.log == NULL)
        return SS_EXIT_SET_UP;
    ss_log_queue_set_sink(worker.log, send_log);
    for (;;) {
        struct pollfd waits[] = {{SS_FD_HOST, POLLIN, 0},
                                 {worker.channel, POLLIN, 0},
                                 {worker.ended, POLLIN, 0}};
        const int ready = poll(waits, 3, METRICS_EVERY_MS);
        ss_log_queue_tell_withheld(worker.log, 0);
        if (ready < 0 && errno != EINTR)
            return SS_EXIT_SET_UP;
        if (ready > 0 && waits[0].revents != 0)
            host_is_gone();
        if (ready > 0 && waits[2].revents != 0)
            on_ended();
        if (ready > 0 && waits[1].revents != 0)
            receive();
        if (ready == 0)
            send_metrics();
    }
}
