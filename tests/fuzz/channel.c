/* What a worker says to its host, in any order and of any length, at any point of its life; and what
 * it leaves in the memory that both share. Workers are made of nothing but their descriptors. */
#include "fuzz.h"
#include "frame/frame.h"
#include "process/supervised.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

enum { STEPS = 64, PIECE = 2048, EVENTS = 4, RING = 64 * 1024 };

static ss_log_queue *log_queue;
static ss_supervisor *supervisor;
static int far_ends[2] = {-1, -1}; /* of the newest generation and the one before: its channel */
static int pipes[2] = {-1, -1};    /* what the newest one prints to */
static unsigned long ran, killed, kept;

/* ---- Instead of a worker -------------------------------------------------------------------- */

static void end_far(int *fd) {
    if (*fd >= 0)
        close(*fd);
    *fd = -1;
}

ss_generation *__wrap_ss_generation_start(const char *program, ss_kept_spec *spec, ss_ring *ring,
                                          uint32_t overflow, ss_no_start *why);
ss_generation *__wrap_ss_generation_start(const char *program, ss_kept_spec *spec, ss_ring *ring,
                                          uint32_t overflow, ss_no_start *why) {
    ss_generation *p = calloc(1, sizeof *p);
    int ends[2];
    int out[2];
    int fd;
    (void)program;
    (void)ring;
    (void)overflow;
    (void)why;
    REQUIRE(p != NULL);
    REQUIRE(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends) == 0);
    REQUIRE(pipe2(out, O_CLOEXEC | O_NONBLOCK) == 0);
    p->spec = spec;
    spec->references++;
    p->pidfd = -1;
    p->channel = ends[0];
    p->out = (ss_lines){.fd = out[0], .level = SLIPSTREAM_LOG_INFO};
    p->err = (ss_lines){.fd = -1};
    p->control = ss_control_new(&fd);
    REQUIRE(p->control != NULL);
    close(fd);
    end_far(&far_ends[1]);
    far_ends[1] = far_ends[0];
    far_ends[0] = ends[1];
    end_far(&pipes[1]);
    pipes[1] = out[1];
    return p;
}

/* Which end a generation is heard at. */
static int far_end(const ss_supervised *w, const ss_generation *p) {
    return w->next != NULL && p == w->current ? far_ends[1] : far_ends[0];
}

/* ---- What it does --------------------------------------------------------------------------- */

static void hear(ss_supervised *w, ss_generation *p) {
    ss_message head;
    ss_generation_drain(p, log_queue);
    while (ss_generation_receive(p, &head, supervisor->message))
        if (!ss_supervised_on_message(w, p, &head, supervisor->message))
            return;
    ss_refusals_keep(&w->refusals);
}

static void say(ss_supervised *w, ss_generation *p, fuzz_input *in) {
    static uint8_t data[PIECE + sizeof(ss_message)];
    static char unread[SS_MESSAGE_ROOM];
    const int end = far_end(w, p);
    const uint8_t type = fuzz_u8(in);
    const uint16_t len = fuzz_u16(in) % PIECE;
    ss_message head = {type, len, fuzz_u16(in)};
    if ((type & 0x80) != 0) { /* the head as it is */
        fuzz_take(in, &head, sizeof head);
    }
    memcpy(data, &head, sizeof head);
    fuzz_take(in, data + sizeof head, len);
    if (end >= 0 && send(end, data, sizeof head + len, MSG_DONTWAIT | MSG_NOSIGNAL) > 0)
        hear(w, p);
    while (end >= 0 && recv(end, unread, sizeof unread, MSG_DONTWAIT) > 0) {
    }
}

static void print(ss_generation *p, fuzz_input *in) {
    uint8_t text[256];
    const size_t len = fuzz_u8(in);
    fuzz_take(in, text, len);
    if (pipes[1] >= 0 && write(pipes[1], text, len) >= 0)
        ss_generation_drain(p, log_queue);
}

/* Any word of the memory that it shares with us, and then a look at it. */
static void scribble(ss_supervised *w, ss_generation *p, fuzz_input *in) {
    const size_t at = fuzz_u16(in) % (sizeof(ss_control) - 8);
    const uint64_t key = ss_ring_get_head(w->queue->ring)->key;
    const uint64_t value = fuzz_u64(in);
    if (value < 64 && at < 64)
        ss_tell(at % 2 == 0 ? &p->control->acked : &p->control->started, key,
                at % 2 == 0 ? SS_PLACE_ACKED : SS_PLACE_STARTED, value);
    else
        memcpy((uint8_t *)p->control + at, &value, sizeof value);
    if (p == w->current)
        ss_supervised_watch(w, p, now_ns(), true);
}

/* Its process has ended: what it has left is read. */
static void end(ss_supervised *w, ss_generation *p, fuzz_input *in) {
    ss_report report;
    fuzz_take(in, &p->control->fault, fuzz_u8(in));
    ss_report_fill(&report, p);
    ss_generation_end_lines(p, log_queue);
    for (uint32_t i = 0; i < SS_REPORT_LINES; i++)
        REQUIRE(memchr(report.lines[i], '\0', SS_REPORT_LINE) != NULL);
    REQUIRE(report.frames <= SS_REPORT_FRAMES && report.registers <= SS_REPORT_REGISTERS);
    ss_event event = {.type = SS_HAS_ENDED, .why = report.reason, .report = &report};
    if (p == w->next) {
        ss_supervised_fail_next(w, event, report.reason, "hint");
        return;
    }
    event.in_flight = ss_supervised_find_in_flight(w, p, &report);
    ss_supervised_step(w, event);
}

static void look(ss_supervised *w) {
    ss_supervised_info info;
    ss_metric metric;
    ss_report report;
    char claim[256];
    ss_supervised_describe(w, &info);
    fuzz_touch(info.text, strlen(info.text));
    for (uint32_t i = 0; ss_supervised_claim(w, i, claim, sizeof claim); i++)
        fuzz_touch(claim, strlen(claim));
    for (uint32_t i = 0; ss_supervised_metric(w, i, &metric) == SLIPSTREAM_OK; i++)
        fuzz_touch(metric.name, strlen(metric.name) + 1);
    while (ss_supervised_take_report(w, &report) == SLIPSTREAM_OK)
        kept++;
}

/* ---- What is asked of it --------------------------------------------------------------------- */

static void prepare(ss_supervised *w) {
    const ss_terms terms = {0};
    const ss_spec spec = {.name = "fuzz",
                          .path = "/fuzz.so",
                          .shown = "fuzz.so",
                          .config_dir = "",
                          .user = "",
                          .load_timeout_ms = 1000,
                          .unload_timeout_ms = 1000,
                          .callback_timeout_ms = 1000,
                          .max_crashes = 3,
                          .window_ms = 60000,
                          .terms = &terms};
    ss_supervised_prepare(w, &spec);
}

static void tick(ss_supervised *w) {
    for (int i = 0; i < STEPS && ss_supervised_step(w, (ss_event){.type = SS_TICK}).acted; i++) {
    }
}

static void act(ss_supervised *w, uint8_t what, fuzz_input *in) {
    ss_generation *p = what / 16 % 2 == 0 && w->next != NULL ? w->next : w->current;
    if (p == NULL)
        p = w->next;
    switch (p == NULL ? what % 16 % 6 : what % 16) {
    case 0:
        prepare(w);
        break;
    case 1:
        ss_supervised_switch(w, SLIPSTREAM_LOAD_START, what / 32 % 2, "", "config", 6);
        break;
    case 2:
        ss_supervised_stop(w, 1000);
        break;
    case 3:
        ss_supervised_resume(w);
        break;
    case 4:
        ss_supervised_cancel(w);
        break;
    case 5:
        look(w);
        break;
    case 6:
        print(p, in);
        break;
    case 7:
        end(w, p, in);
        break;
    case 8:
        scribble(w, p, in);
        break;
    default:
        say(w, p, in);
    }
    tick(w);
    ran += w->current != NULL;
    killed += w->current != NULL && w->current->kill_reason[0] != '\0';
}

static void fill(ss_queue *queue) {
    uint8_t frame[256];
    ss_draft draft;
    ss_draft_start(&draft, SLIPSTREAM_KIND_BLOCK);
    draft.spans[0] = (slipstream_bytes){(const uint8_t *)"block", 5};
    const size_t size = ss_frame_size(&draft);
    ss_frame_write(frame, size, &draft);
    for (int i = 0; i < EVENTS; i++) {
        const uint8_t *at = frame;
        size_t len = size;
        bool must_wake = false;
        REQUIRE(ss_queue_put(queue, &at, &len, 1, &must_wake));
    }
}

static void set_up(void) {
    if (supervisor != NULL)
        return;
    log_queue = ss_log_queue_new(128 * 1024);
    supervisor = calloc(1, sizeof *supervisor); /* without its thread: that is us */
    REQUIRE(log_queue != NULL && supervisor != NULL);
    supervisor->log = log_queue;
    supervisor->program = strdup("/nowhere");
    supervisor->kick = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    signal(SIGPIPE, SIG_IGN); /* what it prints may go nowhere */
    supervisor->stopping = true; /* nobody waits for that thread */
    ss_ticks_start();
    REQUIRE(ss_os_mutex_init(&supervisor->lock) && ss_os_condition_init(&supervisor->changed));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    fuzz_input in = {data, size};
    set_up();
    ss_queue *queue = ss_queue_new(RING, 1, 0, 0);
    ss_letters *letters = ss_letters_new(log_queue);
    REQUIRE(queue != NULL && letters != NULL);
    fill(queue);
    ss_supervised *w = ss_supervised_new(supervisor, queue, letters);
    REQUIRE(w != NULL);
    prepare(w);
    tick(w);
    for (int i = 0; in.left > 0 && i < STEPS; i++)
        act(w, fuzz_u8(&in), &in);
    look(w);
    ss_supervised_step(w, (ss_event){.type = SS_ASKED_FREE});
    tick(w);
    ss_supervised_free(w);
    ss_queue_free(queue);
    ss_letters_free(letters);
    for (int i = 0; i < 2; i++) {
        end_far(&far_ends[i]);
        end_far(&pipes[i]);
    }
    return 0;
}

void fuzz_tell(void) {
    printf("%lu steps beside a worker that runs, %lu beside one that is killed, %lu reports\n", ran,
           killed, kept);
}
