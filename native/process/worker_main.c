/* worker: main() of slipstream-worker, the process in which a plugin runs in process mode.
 *
 * The main thread talks to the host: it reads the channel, watches a pidfd of the host and
 * ends with it. All code of the plugin runs on the instance's thread, as in the host. */
#include "base/clock.h"
#include "consumer/consume.h"
#include "plugin/instance.h"
#include "process/protocol.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <poll.h>
#include <pwd.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <ucontext.h>
#include <unistd.h>

enum {
    EXIT_HOST_GONE = 81,
    EXIT_PROTOCOL = 82,
    EXIT_SET_UP = 83,
    STEP_SLICE_MS = 50,
    METRICS_EVERY_MS = 1000,
    NOTE_WAIT_MS = 10 * 1000,
    REGISTERS = 23,
    FAULT_STACK = 64 * 1024,
};

static struct worker {
    ss_start start;
    ss_control *control;
    ss_log_queue *log;
    ss_instance *instance;
    ss_consumer consumer;
    int channel;
    int ended; /* eventfd: the consumer has returned */
    uint32_t end_reason;
    char *config;
    size_t config_len;
    pthread_mutex_t note_lock;
    pthread_cond_t noted;
    uint64_t noted_ordinal;
    uint64_t sent_bits[SS_SERIES_MAX];
} worker;

/* ---- Talking to the host --------------------------------------------------------- */

static void host_is_gone(void) {
    _exit(EXIT_HOST_GONE);
}

/* Sends one message; `wait` false drops it when the host does not read. */
static void tell(uint32_t type, uint64_t number, const void *data, size_t len, bool wait) {
    ss_message head = {type, (uint32_t)len, number};
    struct iovec parts[2] = {{&head, sizeof head}, {(void *)(uintptr_t)data, len}};
    const struct msghdr message = {.msg_iov = parts, .msg_iovlen = 2};
    while (sendmsg(worker.channel, &message, MSG_NOSIGNAL | (wait ? 0 : MSG_DONTWAIT)) < 0) {
        if (errno == EINTR)
            continue;
        if (errno == EPIPE || errno == ECONNRESET)
            host_is_gone();
        return;
    }
}

static void send_log(uint32_t level, const char *text, size_t len) {
    tell(SS_TO_HOST_LOG, level, text, len < SS_MESSAGE_MAX ? len : SS_MESSAGE_MAX, false);
}

/* Adds a text with its NUL to a buffer, as much as fits. */
static size_t add_text(char *buffer, size_t room, size_t used, const char *text) {
    const size_t len = strlen(text) + 1;
    if (len > room - used)
        return used;
    memcpy(buffer + used, text, len);
    return used + len;
}

static bool host_lives(void) {
    struct pollfd host = {SS_FD_HOST, POLLIN, 0};
    return poll(&host, 1, 0) == 0;
}

/* Waits for a step of the instance; its deadline is the host's, who kills us. */
static void finish_step(void) {
    while (ss_instance_wait(worker.instance, STEP_SLICE_MS) != SLIPSTREAM_OK)
        if (!host_lives())
            host_is_gone();
}

/* ---- Deadly signals ---------------------------------------------------------------- */

static uint64_t hex_number(const char **p) {
    uint64_t value = 0;
    for (;; (*p)++) {
        const char c = **p;
        if (c >= '0' && c <= '9')
            value = value * 16 + (uint64_t)(c - '0');
        else if (c >= 'a' && c <= 'f')
            value = value * 16 + (uint64_t)(c - 'a' + 10);
        else
            return value;
    }
}

/* One line of /proc/self/maps: is the address in it? Then module and offset are noted. */
static bool note_module(ss_fault *fault, const char *line) {
    const char *p = line;
    const uint64_t start = hex_number(&p);
    if (*p++ != '-')
        return false;
    const uint64_t end = hex_number(&p);
    if (fault->pc < start || fault->pc >= end)
        return false;
    p += 6; /* " r-xp " */
    const uint64_t offset = hex_number(&p);
    while (*p != '\0' && *p != '/' && *p != '[')
        p++;
    fault->module_start = start;
    fault->module_offset = fault->pc - start + offset;
    size_t i = 0;
    for (; p[i] != '\0' && i < sizeof fault->module - 1; i++)
        fault->module[i] = p[i];
    fault->module[i] = '\0';
    return true;
}

/* Only system calls: the process may be in any state. */
static void find_module(ss_fault *fault) {
    static char chunk[4096];
    static char line[512];
    size_t used = 0;
    const int maps = open("/proc/self/maps", O_RDONLY | O_CLOEXEC);
    ssize_t n;
    bool found = false;
    while (!found && maps >= 0 && (n = read(maps, chunk, sizeof chunk)) > 0) {
        for (ssize_t i = 0; i < n && !found; i++) {
            if (chunk[i] != '\n') {
                if (used < sizeof line - 1)
                    line[used++] = chunk[i];
                continue;
            }
            line[used] = '\0';
            used = 0;
            found = note_module(fault, line);
        }
    }
    if (maps >= 0)
        close(maps);
}

static void on_fault(int signal, siginfo_t *info, void *context) {
    const ucontext_t *machine = context;
    ss_fault *fault = &worker.control->fault;
    if (__atomic_exchange_n(&fault->signal, signal, __ATOMIC_SEQ_CST) == 0) {
        fault->code = info->si_code;
        fault->address = (uint64_t)(uintptr_t)info->si_addr;
#if defined(__x86_64__)
        fault->pc = (uint64_t)machine->uc_mcontext.gregs[REG_RIP];
        fault->sp = (uint64_t)machine->uc_mcontext.gregs[REG_RSP];
        for (int i = 0; i < REGISTERS; i++)
            fault->values[i] = (uint64_t)machine->uc_mcontext.gregs[i];
        fault->registers = REGISTERS;
#elif defined(__aarch64__)
        fault->pc = machine->uc_mcontext.pc;
        fault->sp = machine->uc_mcontext.sp;
        for (int i = 0; i < 31; i++)
            fault->values[i] = machine->uc_mcontext.regs[i];
        fault->registers = 31;
#endif
        find_module(fault);
        fault->written = 1;
    }
    /* SA_RESETHAND has put the default action back: end by the same signal. */
    raise(signal);
}

static void use_fault_stack(void *unused) {
    (void)unused;
    /* Pages of its own: sanitizers give the stack of a thread that ends back as such. */
    void *pages = mmap(NULL, FAULT_STACK, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    const stack_t stack = {.ss_sp = pages, .ss_size = FAULT_STACK};
    if (pages != MAP_FAILED)
        sigaltstack(&stack, NULL);
}

static void catch_faults(void) {
    static const int deadly[] = {SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGABRT, SIGSYS, SIGTRAP};
    struct sigaction action = {.sa_sigaction = on_fault,
                               .sa_flags = (int)(SA_SIGINFO | SA_ONSTACK | SA_RESETHAND)};
    sigfillset(&action.sa_mask);
    for (size_t i = 0; i < sizeof deadly / sizeof deadly[0]; i++) {
        sigdelset(&action.sa_mask, deadly[i]);
        sigaction(deadly[i], &action, NULL);
    }
}

/* ---- Set-up ------------------------------------------------------------------------ */

/* As far as the hard limit goes; a change of the user would forbid it otherwise. */
static void allow_core_files(void) {
    struct rlimit limits;
    if (getrlimit(RLIMIT_CORE, &limits) == 0) {
        limits.rlim_cur = limits.rlim_max;
        setrlimit(RLIMIT_CORE, &limits);
    }
    prctl(PR_SET_DUMPABLE, 1);
}

static void limit(int resource, uint64_t value) {
    const struct rlimit wanted = {value, value};
    setrlimit((__rlimit_resource_t)resource, &wanted);
}

/* Maps ring and control area and closes their descriptors, so that the plugin does not
 * even find them. */
static bool map_memory(void) {
    const size_t bytes = worker.start.ring_bytes;
    if (!ss_view_open(&worker.consumer.view, SS_FD_RING, SS_FD_CONTROL, bytes,
                      worker.start.overflow))
        return false;
    close(SS_FD_RING);
    close(SS_FD_CONTROL);
    worker.control = worker.consumer.view.control;
    return true;
}

static bool become(const char *user) {
    if (user[0] == '\0')
        return true;
    const struct passwd *entry = getpwnam(user);
    return entry != NULL && initgroups(user, entry->pw_gid) == 0 && setgid(entry->pw_gid) == 0 &&
           setuid(entry->pw_uid) == 0 && prctl(PR_SET_PDEATHSIG, SIGKILL) == 0;
}

/* The next NUL-terminated text of a message; NULL if it has none. */
static const char *next_text(const char **at, const char *end) {
    const char *text = *at;
    const char *nul = text < end ? memchr(text, '\0', (size_t)(end - text)) : NULL;
    if (nul == NULL)
        return NULL;
    *at = nul + 1;
    return text;
}

static void refuse(uint32_t refusal, const char *text, const char *hint) {
    char texts[SS_MESSAGE_MAX];
    size_t used = add_text(texts, sizeof texts, 0, text);
    used = add_text(texts, sizeof texts, used, hint);
    tell(SS_TO_HOST_REFUSED, refusal, texts, used, true);
}

static void on_start(const char *data, size_t len) {
    const char *end = data + len;
    const char *at = data + sizeof worker.start;
    if (len < sizeof worker.start)
        _exit(EXIT_PROTOCOL);
    memcpy(&worker.start, data, sizeof worker.start);
    const char *path = next_text(&at, end);
    const char *shown = next_text(&at, end);
    const char *config_dir = next_text(&at, end);
    const char *data_dir = next_text(&at, end);
    const char *user = next_text(&at, end);
    if (user == NULL)
        _exit(EXIT_PROTOCOL);
    if (!map_memory()) {
        refuse(SS_REFUSED_CANNOT_OPEN, "the worker cannot map the ring: no address space or memory",
               "use a smaller `ring_bytes`, or raise `limits.memory`");
        return;
    }
    catch_faults();
    if (worker.start.open_files != 0)
        limit(RLIMIT_NOFILE, worker.start.open_files);
    if (worker.start.memory != 0)
        limit(RLIMIT_AS, worker.start.memory + 2 * worker.start.ring_bytes);
    if (!become(user)) {
        refuse(SS_REFUSED_CANNOT_OPEN, "the worker cannot become the user that the config names",
               "`user` needs a host that runs as root, and a user that exists");
        return;
    }
    if (worker.start.core_files)
        allow_core_files();
    else
        limit(RLIMIT_CORE, 0);
    ss_log_queue_set_level(worker.log, worker.start.log_level);
    worker.instance = ss_instance_new(worker.log, worker.start.log_id, path, shown, config_dir);
    if (worker.instance == NULL ||
        (data_dir[0] != '\0' &&
         ss_instance_set_data_dir(worker.instance, data_dir) != SLIPSTREAM_OK)) {
        refuse(SS_REFUSED_CANNOT_OPEN, "the worker has no memory or no thread for the plugin",
               "raise `limits.memory`");
        return;
    }
    ss_instance_call(worker.instance, use_fault_stack, NULL);
    finish_step();
    ss_instance_open(worker.instance);
    finish_step();
    ss_instance_info info;
    ss_instance_describe(worker.instance, &info);
    if (info.refusal != SS_REFUSED_NOTHING) {
        refuse(info.refusal, info.text, info.hint);
        return;
    }
    char told[256];
    const ss_opened opened = {info.flags, info.abi_minor};
    memcpy(told, &opened, sizeof opened);
    size_t used = add_text(told, sizeof told, sizeof opened, info.name);
    used = add_text(told, sizeof told, used, info.version);
    tell(SS_TO_HOST_OPENED, 0, told, used, true);
}

static void on_config(const char *data, size_t len) {
    char *config = realloc(worker.config, worker.config_len + len);
    if (config == NULL)
        _exit(EXIT_SET_UP);
    memcpy(config + worker.config_len, data, len);
    worker.config = config;
    worker.config_len += len;
}

static void on_load(uint32_t reason) {
    char texts[SS_MESSAGE_MAX];
    ss_instance_load(worker.instance, worker.config == NULL ? "" : worker.config,
                     worker.config_len, reason);
    finish_step();
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
        const size_t used = add_text(texts, sizeof texts, 0, info.text);
        ss_instance_close(worker.instance); /* the host ends us when it has heard */
        finish_step();
        tell(SS_TO_HOST_FAILED_LOAD, (uint64_t)(int64_t)info.status, texts, used, true);
        return;
    }
    worker.consumer.kinds = info.kinds;
    size_t used = 0;
    const char *claim;
    for (uint32_t i = 0; (claim = ss_instance_claim(worker.instance, i)) != NULL; i++)
        used = add_text(texts, sizeof texts, used, claim);
    tell(SS_TO_HOST_LOADED, info.kinds, texts, used, true);
}

/* ---- Events ------------------------------------------------------------------------ */

/* An event that failed for good: the host writes it down while it is still in the ring. */
static void event_failed(void *context, int32_t status, uint64_t ordinal, const uint8_t *frame,
                         size_t len) {
    char told[SLIPSTREAM_ERROR_MAX * 2];
    (void)context;
    (void)frame;
    (void)len;
    memcpy(told, &status, sizeof status);
    const size_t text = ss_host_error(ss_instance_host(worker.instance), told + sizeof status,
                                      sizeof told - sizeof status);
    tell(SS_TO_HOST_EVENT_FAILED, ordinal, told, sizeof status + text, true);
    const struct timespec end = ss_deadline(NOTE_WAIT_MS);
    pthread_mutex_lock(&worker.note_lock);
    while (worker.noted_ordinal < ordinal &&
           pthread_cond_clockwait(&worker.noted, &worker.note_lock, CLOCK_MONOTONIC, &end) == 0) {
    }
    pthread_mutex_unlock(&worker.note_lock);
}

static void consume(void *unused) {
    const uint64_t one = 1;
    (void)unused;
    worker.end_reason = ss_consume(&worker.consumer);
    if (write(worker.ended, &one, sizeof one) != sizeof one)
        _exit(EXIT_SET_UP);
}

static void on_run(void) {
    worker.consumer.table = ss_instance_table(worker.instance);
    worker.consumer.host = ss_instance_host(worker.instance);
    worker.consumer.flush_idle_ms = worker.start.flush_idle_ms;
    worker.consumer.flush_timeout_ms = worker.start.flush_timeout_ms;
    worker.consumer.max_attempts = worker.start.max_attempts;
    worker.consumer.retry_delay_ms = 10;
    worker.consumer.failed = event_failed;
    if (ss_instance_call(worker.instance, consume, NULL) != SLIPSTREAM_OK)
        _exit(EXIT_PROTOCOL);
}

static void on_ended(void) {
    uint64_t count;
    if (read(worker.ended, &count, sizeof count) != sizeof count)
        _exit(EXIT_SET_UP); /* the plugin has closed it */
    finish_step();
    tell(SS_TO_HOST_ENDED, worker.end_reason, NULL, 0, true);
}

static void on_noted(uint64_t ordinal) {
    pthread_mutex_lock(&worker.note_lock);
    worker.noted_ordinal = ordinal;
    pthread_cond_broadcast(&worker.noted);
    pthread_mutex_unlock(&worker.note_lock);
}

static void send_metrics(void) {
    ss_metric metric;
    for (uint32_t i = 0; worker.instance != NULL &&
                         ss_instance_metric(worker.instance, i, &metric) == SLIPSTREAM_OK;
         i++) {
        uint64_t bits = metric.count;
        char told[512];
        if (metric.is_gauge)
            memcpy(&bits, &metric.gauge, sizeof bits);
        if (worker.sent_bits[i] == bits && bits != 0)
            continue;
        worker.sent_bits[i] = bits;
        memcpy(told, &metric.is_gauge, sizeof metric.is_gauge);
        size_t used = add_text(told, sizeof told, sizeof metric.is_gauge, metric.name);
        used = add_text(told, sizeof told, used, metric.label);
        tell(SS_TO_HOST_METRIC, bits, told, used, false);
    }
}

static void on_unload(uint32_t timeout_ms) {
    char text[SS_MESSAGE_MAX] = "";
    ss_instance_unload(worker.instance, timeout_ms);
    finish_step();
    send_metrics();
    ss_instance_info info;
    ss_instance_describe(worker.instance, &info);
    size_t used = 0;
    if (info.status != SLIPSTREAM_OK)
        used = add_text(text, sizeof text, 0, info.text);
    tell(SS_TO_HOST_UNLOADED, (uint64_t)(int64_t)info.status, text, used, true);
}

static void on_exit_asked(void) {
    if (worker.instance != NULL) {
        ss_instance_close(worker.instance);
        finish_step();
    }
    exit(0);
}

/* ---- The loop ---------------------------------------------------------------------- */

static void on_message(const ss_message *head, const char *data) {
    switch (head->type) {
    case SS_TO_WORKER_START:
        on_start(data, head->len);
        break;
    case SS_TO_WORKER_CONFIG:
        on_config(data, head->len);
        break;
    case SS_TO_WORKER_LOAD:
        on_load((uint32_t)head->number);
        break;
    case SS_TO_WORKER_RUN:
        on_run();
        break;
    case SS_TO_WORKER_NOTED:
        on_noted(head->number);
        break;
    case SS_TO_WORKER_UNLOAD:
        on_unload((uint32_t)head->number);
        break;
    case SS_TO_WORKER_EXIT:
        on_exit_asked();
        break;
    default:
        _exit(EXIT_PROTOCOL);
    }
}

static void receive(void) {
    static char packet[sizeof(ss_message) + SS_MESSAGE_MAX];
    ss_message head;
    const ssize_t n = recv(worker.channel, packet, sizeof packet, 0);
    if (n == 0 || (n < 0 && errno != EINTR && errno != EAGAIN))
        host_is_gone();
    if (n < 0)
        return;
    if ((size_t)n < sizeof head)
        _exit(EXIT_PROTOCOL);
    memcpy(&head, packet, sizeof head);
    if (head.len != (size_t)n - sizeof head)
        _exit(EXIT_PROTOCOL);
    on_message(&head, packet + sizeof head);
    explicit_bzero(packet, (size_t)n); /* it may have held a secret */
}

int main(int argc, char **argv) {
    const pid_t host = argc == 2 ? (pid_t)atoi(argv[1]) : 0;
    /* Nothing of the host but what is meant for us. */
    syscall(SYS_close_range, SS_FD_HOST + 1, ~0U, 0);
    if (host == 0 || fcntl(SS_FD_HOST, F_GETFD) < 0) {
        fprintf(stderr, "slipstream-worker is started by a slipstream host, not by hand\n");
        return 2;
    }
    for (int fd = SS_FD_CHANNEL; fd <= SS_FD_HOST; fd++)
        fcntl(fd, F_SETFD, FD_CLOEXEC);
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    worker.channel = SS_FD_CHANNEL;
    worker.ended = eventfd(0, EFD_CLOEXEC);
    worker.log = ss_log_queue_new(128 * 1024);
    pthread_mutex_init(&worker.note_lock, NULL);
    pthread_cond_init(&worker.noted, NULL);
    if (worker.ended < 0 || worker.log == NULL)
        return EXIT_SET_UP;
    ss_log_queue_set_sink(worker.log, send_log);
    for (;;) {
        struct pollfd waits[] = {{SS_FD_HOST, POLLIN, 0},
                                 {worker.channel, POLLIN, 0},
                                 {worker.ended, POLLIN, 0}};
        const int ready = poll(waits, 3, METRICS_EVERY_MS);
        if (ready < 0 && errno != EINTR)
            return EXIT_SET_UP;
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
