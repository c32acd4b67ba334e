/* What a host says to its worker, in any order and of any length. The worker's own program is in
 * this one; what ends its process ends one input here, and must be one of the ends that it has. */
#include "base/clock.h"
#include "consumer/consume.h"
#include "fuzz.h"
#include "plugin/instance.h"
#include "process/protocol.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <setjmp.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

static _Noreturn void end_process(int code);
#define _exit end_process
#define exit end_process
#define main worker_main
int worker_main(int argc, char **argv);
#include "process/worker_main.c"
#undef main
#undef exit
#undef _exit

enum { STEPS = 16, PIECE = 4096 };

static unsigned long loaded, ends;
static jmp_buf ended;
static ss_control control;

static void end_process(int code) {
    REQUIRE(code == 0 || code == SS_EXIT_PROTOCOL || code == SS_EXIT_SET_UP);
    longjmp(ended, 1);
}

/* ---- What is not of interest here, and would change this process ------------------------- */

void ss_catch_faults(ss_fault *fault) {
    (void)fault;
}

void ss_note_plugin_thread(void *unused) {
    (void)unused;
}

void ss_worker_offer_itself(void) {
}

void ss_worker_leave_terminal(void) {
}

bool ss_worker_map(const ss_start *start, ss_view *view) {
    memset(view, 0, sizeof *view);
    view->control = &control;
    return start->ring_bytes != 0;
}

bool ss_worker_confine(const ss_start *start, const char *user, const char **failed) {
    *failed = "getpwnam";
    errno = 0;
    return start->memory != 1 && user[0] == '\0';
}

uint32_t __wrap_ss_consume(ss_consumer *consumer);
uint32_t __wrap_ss_consume(ss_consumer *consumer) {
    REQUIRE(consumer->table != NULL && consumer->host != NULL);
    return SS_CONSUMED_BOUNDARY;
}

/* Whatever path there is, this plugin is opened. */
ss_instance *__real_ss_instance_new(ss_log_queue *log, uint32_t log_id, const char *path,
                                    const char *shown, const char *config_dir);
ss_instance *__wrap_ss_instance_new(ss_log_queue *log, uint32_t log_id, const char *path,
                                    const char *shown, const char *config_dir);
ss_instance *__wrap_ss_instance_new(ss_log_queue *log, uint32_t log_id, const char *path,
                                    const char *shown, const char *config_dir) {
    return __real_ss_instance_new(log, log_id, path[0] == '/' ? FUZZ_PLUGIN : path, shown,
                                  config_dir);
}

/* ---- One input ---------------------------------------------------------------------------- */

/* Out of the way of those that a worker finds under fixed numbers, and closes. */
static int lift(int fd) {
    const int high = fcntl(fd, F_DUPFD_CLOEXEC, 64);
    REQUIRE(fd >= 0 && high >= 0 && close(fd) == 0);
    return high;
}

/* As a worker finds them: a host that lives, and a channel; our end of that. */
static int set_up(void) {
    static int host[2];
    static int channel[2] = {-1, -1};
    if (worker.log != NULL)
        return channel[0];
    REQUIRE(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK, 0, channel) == 0);
    channel[0] = lift(channel[0]);
    worker.channel = lift(channel[1]);
    worker.ended = lift(eventfd(0, 0));
    REQUIRE(pipe(host) == 0);
    host[1] = lift(host[1]);
    REQUIRE(dup2(lift(host[0]), SS_FD_HOST) == SS_FD_HOST);
    worker.log = ss_log_queue_new(128 * 1024);
    REQUIRE(worker.log != NULL);
    ss_log_queue_set_sink(worker.log, send_log);
    return channel[0];
}

/* What the worker has said is whole. */
static void hear(int channel) {
    static char data[SS_MESSAGE_ROOM];
    ss_message head;
    while (ss_message_receive(channel, &head, data, MSG_DONTWAIT) == 1) {
        REQUIRE(head.type >= SS_TO_HOST_OPENED && head.type <= SS_TO_HOST_METRIC);
        loaded += head.type == SS_TO_HOST_LOADED;
    }
}

static void say(int channel, fuzz_input *in) {
    static char data[PIECE + sizeof(ss_message)];
    const uint8_t type = fuzz_u8(in);
    const uint16_t len = fuzz_u16(in) % PIECE;
    ss_message head = {type, len, fuzz_u16(in)};
    if ((type & 0x80) != 0) { /* the head as it is */
        fuzz_take(in, &head, sizeof head);
        head.type &= 0xFF;
    }
    memcpy(data, &head, sizeof head);
    fuzz_take(in, data + sizeof head, len);
    if (send(channel, data, sizeof head + len, MSG_DONTWAIT) > 0)
        receive();
    struct pollfd waits = {worker.ended, POLLIN, 0};
    if (worker.stage == RUNNING && poll(&waits, 1, 1) > 0)
        on_ended();
}

static void clean_up(void) {
    uint64_t count;
    if (worker.instance != NULL) {
        while (ss_instance_wait(worker.instance, STEP_SLICE_MS) != SLIPSTREAM_OK)
            continue;
        ss_instance_close(worker.instance);
        while (ss_instance_wait(worker.instance, STEP_SLICE_MS) != SLIPSTREAM_OK)
            continue;
        ss_instance_free(worker.instance);
    }
    struct pollfd waits = {worker.ended, POLLIN, 0};
    if (poll(&waits, 1, 0) > 0)
        REQUIRE(read(worker.ended, &count, sizeof count) == sizeof count);
    free(worker.config);
    worker = (struct worker){.log = worker.log, .channel = worker.channel, .ended = worker.ended};
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static fuzz_input in; /* over a longjmp */
    static int channel;
    static int steps;
    in = (fuzz_input){data, size};
    channel = set_up();
    steps = 0;
    if (setjmp(ended) == 0)
        while (in.left > 0 && steps++ < STEPS) {
            say(channel, &in);
            hear(channel);
        }
    else
        ends++;
    hear(channel);
    clean_up();
    return 0;
}

void fuzz_tell(void) {
    printf("%lu loads, %lu ends of the process\n", loaded, ends);
}
