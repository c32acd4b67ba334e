/* oracle: appends a record of everything that it gets to the file `log` of its config, before
 * it answers, and obeys what the events tell it to do to itself. Compiled with -DFLAGS, -DNAME
 * and -DVERSION.
 *
 * A record is 64 bytes, little-endian: u64 ordinal, stream, sequence, hash (FNV-1a of the frame
 * behind its header); u32 attempt, type (0 event, 1 on_load, 2 about to acknowledge up to
 * ordinal, 3 GAP, 4 event that it refuses), pid, count of the run; u64 first and last lost ordinal of a GAP.
 *
 * An event of kind 41 whose body is "WHAT TIMES" has WHAT done to the process while its attempt
 * is at most TIMES; "-WHAT" before the event is recorded, "WHAT" after it. */
#include <slipstream.h>

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#ifndef FLAGS
#define FLAGS 0
#endif
#ifndef NAME
#define NAME "oracle"
#endif
#ifndef VERSION
#define VERSION "1"
#endif

enum { RECORDS = 512, KIND_COMMAND = 41, EVENT = 0, LOADED = 1, ACKING = 2, GAP = 3, REFUSED = 4 };

typedef struct record {
    uint64_t ordinal, stream, sequence, hash;
    uint32_t attempt, type, pid, count;
    uint64_t first, last;
} record;

static struct oracle {
    const slipstream_host *host;
    int log;
    int obeys;
    int crashes_in_flush;
    int is_child; /* of a fork in a callback: it comes back at once, and is no witness */
    int64_t ack_every;
    int64_t event_us;
    int lock_fd; /* of a file that only one version may hold */
    int port_fd; /* the same with a port, which it listens on */
    uint64_t last;
    uint64_t unacked;
    size_t used;
    record records[RECORDS];
} me = {.log = -1, .lock_fd = -1, .port_fd = -1};

static void sleep_us(int64_t us) {
    struct timespec time = {us / 1000000, us % 1000000 * 1000};
    while (nanosleep(&time, &time) != 0 && errno == EINTR) {
    }
}

static void say(const char *what, int error) {
    char line[200];
    snprintf(line, sizeof line, "%s: %s", what, error == 0 ? "succeeded" : strerror(error));
    slipstream_log(me.host, SLIPSTREAM_LOG_INFO, line);
}

/* ---- What it records ------------------------------------------------------------------- */

static void write_out(void) {
    const char *at = (const char *)me.records;
    size_t left = me.used * sizeof me.records[0];
    me.used = 0;
    while (left > 0) {
        const ssize_t n = write(me.log, at, left);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            _exit(99); /* without its file it is no witness */
        at += n;
        left -= (size_t)n;
    }
}

static void add_record(record r) {
    if (me.used == RECORDS)
        write_out();
    r.pid = (uint32_t)getpid();
    me.records[me.used++] = r;
}

static uint64_t hash_of(const uint8_t *data, size_t len) {
    uint64_t hash = 0xcbf29ce484222325u;
    for (size_t i = 0; i < len; i++)
        hash = (hash ^ data[i]) * 0x100000001b3u;
    return hash;
}

/* ---- What it does to itself ------------------------------------------------------------ */

/* The mapped memory files: of the ring (read-only) or of the control area. */
static int find_mapping(int writable, char **start, size_t *len, char *name, size_t room) {
    char line[512];
    FILE *maps = fopen("/proc/self/maps", "re");
    int found = 0;
    while (maps != NULL && !found && fgets(line, sizeof line, maps) != NULL) {
        unsigned long from, to;
        char rights[8];
        if (strstr(line, "memfd:slipstream") == NULL ||
            sscanf(line, "%lx-%lx %7s", &from, &to, rights) != 3 ||
            (rights[1] == 'w') != writable)
            continue;
        *start = (char *)from;
        *len = to - from;
        snprintf(name, room, "/proc/self/map_files/%lx-%lx", from, to);
        found = 1;
    }
    if (maps != NULL)
        fclose(maps);
    return found;
}

static void attack_ring(void) {
    char name[128];
    char *start;
    size_t len;
    if (!find_mapping(0, &start, &len, name, sizeof name)) {
        say("find the ring", ENOENT);
        return;
    }
    say("mprotect", mprotect(start, len, PROT_READ | PROT_WRITE) == 0 ? 0 : errno);
    /* Its descriptor is closed; root gets another one. */
    const int file = open(name, O_RDWR | O_CLOEXEC);
    say("open", file >= 0 ? 0 : errno);
    if (file < 0)
        return;
    void *again = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    say("mmap", again != MAP_FAILED ? 0 : errno);
    say("ftruncate", ftruncate(file, 0) == 0 ? 0 : errno);
    say("pwrite", pwrite(file, "x", 1, 0) == 1 ? 0 : errno);
    say("punch", fallocate(file, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, 65536) == 0
                     ? 0
                     : errno);
    close(file);
}

static void scribble(void) {
    char name[128];
    char *start;
    size_t len;
    unsigned seed = (unsigned)(time(NULL) ^ getpid());
    if (find_mapping(1, &start, &len, name, sizeof name))
        for (size_t i = 0; i < len; i++)
            start[i] = (char)rand_r(&seed);
#ifdef THEN_HANG
    for (;;) /* so that nothing honest is written over it */
        pause();
#endif
}

static void unmap_ring(void) {
    char name[128];
    char *start;
    size_t len;
    while (find_mapping(0, &start, &len, name, sizeof name) && munmap(start, len) == 0) {
    }
}

static void garbage(void) {
    static const struct {
        uint32_t type, len;
        uint64_t number;
        char data[16];
    } words[] = {{64, 16, 0, "opened"}, {65, 16, 9, "refused"}, {66, 16, 31, "loaded"},
                 {67, 16, 3, "failed"}, {69, 16, 0, "unloaded"}, {70, 16, 99, "log"},
                 {71, 16, 1u << 30, "event"}, {72, 16, 7, "metric"}, {68, 16, 0, "ended"},
                 {999, 16, 0, "what"}, {70, 999, 0, "length"}};
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++)
        if (write(3, &words[i], 32) < 0)
            return;
}

/* The worker's word for a refusal, of an event that nobody has refused. */
static void forge(uint64_t ordinal) {
    const struct {
        uint32_t type, len;
        uint64_t ordinal;
        int32_t status;
        uint32_t attempts, number;
    } word = {71, 12, ordinal, SLIPSTREAM_FAILED, 1, 99};
    if (write(3, &word, 28) < 0)
        perror("forge");
}

static void close_descriptors(void) {
    for (int fd = 0; fd < 16; fd++)
        if (fd != me.log)
            close(fd);
}

static void stop_for_a_while(long ms) {
    const pid_t parent = getpid();
    const pid_t child = fork();
    if (child == 0) {
        sleep_us(ms * 1000);
        kill(parent, SIGCONT);
        _exit(0);
    }
    raise(SIGSTOP);
    if (child > 0)
        waitpid(child, NULL, 0);
}

static void list_descriptors(void) {
    char line[256];
    char target[128];
    char path[64];
    for (int fd = 0; fd < 64; fd++) {
        snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
        const ssize_t n = readlink(path, target, sizeof target - 1);
        if (n < 0)
            continue;
        target[n] = '\0';
        snprintf(line, sizeof line, "fd %d %s", fd, target);
        slipstream_log(me.host, SLIPSTREAM_LOG_INFO, line);
    }
    for (char **e = environ; *e != NULL; e++) {
        snprintf(line, sizeof line, "env %.*s", (int)strcspn(*e, "="), *e);
        slipstream_log(me.host, SLIPSTREAM_LOG_INFO, line);
    }
    /* Of the main thread: this one has its own mask. */
    unsigned long blocked = 0, ignored = 0;
    FILE *status = fopen("/proc/self/status", "re");
    while (status != NULL && fgets(line, sizeof line, status) != NULL) {
        sscanf(line, "SigBlk: %lx", &blocked);
        sscanf(line, "SigIgn: %lx", &ignored);
    }
    if (status != NULL)
        fclose(status);
    snprintf(line, sizeof line, "blocked %lx, ignored %lx, group %d, session %d, terminal %d",
             blocked, ignored & 0x7FFFFFFF /* above that are the C library's own */,
             getpgid(0) == getpid(), getsid(0) == getpid(), open("/dev/tty", O_RDWR) >= 0);
    slipstream_log(me.host, SLIPSTREAM_LOG_INFO, line);
}

static void try_limits(void) {
    struct rlimit limit;
    getrlimit(RLIMIT_AS, &limit);
    void *large = malloc((size_t)limit.rlim_cur < (1ul << 40) ? limit.rlim_cur : 1ul << 33);
    say("allocate", large != NULL ? 0 : ENOMEM);
    free(large);
    int opened = 0;
    int fds[4096];
    while (opened < 4096 && (fds[opened] = open("/dev/null", O_RDONLY)) >= 0)
        opened++;
    for (int i = 0; i < opened; i++)
        close(fds[i]);
    char line[64];
    snprintf(line, sizeof line, "opened %d", opened);
    slipstream_log(me.host, SLIPSTREAM_LOG_INFO, line);
}

__attribute__((noinline)) void oracle_write_to_null(void);
void oracle_write_to_null(void) {
    *(volatile int *)0x10 = 1;
}

static void print_much(void) {
    char line[64];
    for (int i = 0; i < 100000; i++)
        if (write(1, line, (size_t)snprintf(line, sizeof line, "flood %d\n", i)) < 0 &&
            errno != EAGAIN)
            return;
}

static void chatter(void) {
    for (int i = 0; i < 20000; i++)
        slipstream_log(me.host, SLIPSTREAM_LOG_INFO, "there is no end to it");
}

static void obey(const char *what, uint64_t ordinal) {
    if (strcmp(what, "segv") == 0)
        oracle_write_to_null();
    else if (strcmp(what, "abort") == 0)
        abort();
    else if (strcmp(what, "exit") == 0)
        exit(3);
    else if (strcmp(what, "hang") == 0)
        for (;;)
            pause();
    else if (strcmp(what, "spin") == 0)
        for (volatile int on = 1; on;) {
        }
    else if (strcmp(what, "kill") == 0)
        kill(getpid(), SIGKILL);
    else if (strcmp(what, "stop") == 0)
        stop_for_a_while(60);
    else if (strcmp(what, "stopped") == 0)
        raise(SIGSTOP);
    else if (strcmp(what, "scribble") == 0)
        scribble();
    else if (strcmp(what, "fork") == 0)
        me.is_child = fork() == 0;
    else if (strcmp(what, "chatter") == 0)
        chatter();
    else if (strcmp(what, "attack") == 0)
        attack_ring();
    else if (strcmp(what, "unmap") == 0)
        unmap_ring();
    else if (strcmp(what, "garbage") == 0)
        garbage();
    else if (strcmp(what, "forge") == 0)
        forge(ordinal);
    else if (strcmp(what, "close") == 0)
        close_descriptors();
    else if (strcmp(what, "list") == 0)
        list_descriptors();
    else if (strcmp(what, "limits") == 0)
        try_limits();
    else if (strcmp(what, "flood") == 0)
        print_much();
    else if (strcmp(what, "print") == 0) {
        char *large = malloc(20001);
        memset(large, 'x', 20000);
        large[20000] = '\n';
        if (write(1, "to out\nbad \xff byte\n", 19) < 0 || write(2, "to err\n", 7) < 0 ||
            write(1, large, 20001) < 0 || write(1, "no end", 6) < 0)
            perror("print");
        free(large);
    } else if (strcmp(what, "late") == 0)
        me.crashes_in_flush = 1;
    else if (strcmp(what, "early") == 0)
        say("ack of the future",
            slipstream_ack(me.host, ordinal + 1000) == SLIPSTREAM_OK ? 0 : EINVAL);
    else if (strncmp(what, "us=", 3) == 0)
        sleep_us(atol(what + 3));
    else if (strcmp(what, "none") != 0)
        say(what, ENOSYS);
}

/* The command that an event carries; "" if it carries none for this attempt. */
static void command_of(const slipstream_frame *frame, uint32_t attempt, char *what, size_t room) {
    unsigned long times = 0;
    char text[64];
    what[0] = '\0';
    const size_t len = frame->whole.len - SLIPSTREAM_FRAME_HEADER_LEN;
    if (!me.obeys || frame->kind != KIND_COMMAND)
        return;
    const char *body = (const char *)frame->whole.data + SLIPSTREAM_FRAME_HEADER_LEN;
    /* The body is a text of letters and a number, wherever the frame has it. */
    size_t start = 0;
    while (start < len && body[start] != '<')
        start++;
    size_t end = start;
    while (end < len && body[end] != '>')
        end++;
    if (end == len || end - start >= sizeof text)
        return;
    memcpy(text, body + start + 1, end - start - 1);
    text[end - start - 1] = '\0';
    char *space = strchr(text, ' ');
    if (space == NULL)
        return;
    *space = '\0';
    times = strtoul(space + 1, NULL, 10);
    if (attempt <= times)
        snprintf(what, room, "%s", text);
}

/* ---- The plugin ------------------------------------------------------------------------ */

static int64_t number(const slipstream_config_v1 *config, const char *pointer) {
    int64_t value = 0;
    config->get_i64(me.host->ctx, pointer, &value);
    return value;
}

static int get_text(const slipstream_config_v1 *config, const char *pointer, char *out,
                    size_t room) {
    size_t len = room - 1;
    out[0] = '\0';
    if (config->get_text(me.host->ctx, pointer, out, &len) != SLIPSTREAM_OK)
        return 0;
    out[len] = '\0';
    return 1;
}

/* Exclusively: a second one fails as long as the first lives. */
static int listen_on(uint16_t port) {
    const struct sockaddr_in address = {
        .sin_family = AF_INET, .sin_port = htons(port), .sin_addr = {htonl(INADDR_LOOPBACK)}};
    me.port_fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    return me.port_fd >= 0 &&
           bind(me.port_fd, (const struct sockaddr *)&address, sizeof address) == 0 &&
           listen(me.port_fd, 1) == 0;
}

static int32_t on_load(void *instance, const char *json, size_t len, uint32_t reason) {
    const slipstream_config_v1 *config = slipstream_extension(me.host, SLIPSTREAM_EXT_CONFIG);
    char path[512];
    char what[64];
    (void)instance;
    if (!get_text(config, "/log", path, sizeof path))
        return slipstream_fail(me.host, SLIPSTREAM_INVALID_CONFIG, "log is missing");
    /* High, so that it is not one of those that are closed for a test. */
    const int low = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    me.log = fcntl(low, F_DUPFD_CLOEXEC, 10);
    close(low);
    if (me.log < 0)
        return slipstream_fail(me.host, SLIPSTREAM_FAILED, "cannot open its file");
    if (get_text(config, "/lock", path, sizeof path)) {
        me.lock_fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
        if (me.lock_fd < 0 || flock(me.lock_fd, LOCK_EX | LOCK_NB) != 0)
            return slipstream_fail(me.host, SLIPSTREAM_FAILED, "somebody else has the lock");
    }
    if (number(config, "/port") != 0 && !listen_on((uint16_t)number(config, "/port")))
        return slipstream_fail(me.host, SLIPSTREAM_FAILED, "somebody else has the port");
    me.obeys = (int)number(config, "/obeys");
    me.ack_every = number(config, "/ack_every");
    me.event_us = number(config, "/event_us");
    if (get_text(config, "/on_load", what, sizeof what)) {
        if (strcmp(what, "fail") == 0)
            return slipstream_fail(me.host, SLIPSTREAM_FAILED, "told to fail in on_load");
        obey(what, 0);
    }
    if (number(config, "/expect_len") != 0 && (int64_t)len < number(config, "/expect_len"))
        return slipstream_fail(me.host, SLIPSTREAM_FAILED, "its config was cut off");
    (void)json;
    add_record((record){.type = LOADED, .count = reason, .hash = hash_of((const uint8_t *)VERSION,
                                                                      strlen(VERSION))});
    write_out();
    return SLIPSTREAM_OK;
}

#ifndef ON_UNLOAD
#define ON_UNLOAD "none"
#endif
#ifndef ON_FLUSH
#define ON_FLUSH "none"
#endif
#ifndef ON_DESTROY
#define ON_DESTROY "none"
#endif
#ifndef ON_CREATE
#define ON_CREATE "none"
#endif
#ifndef ON_GAP
#define ON_GAP "none"
#endif

static int32_t on_unload(void *instance, uint32_t timeout_ms) {
    (void)instance;
    (void)timeout_ms;
    obey(ON_UNLOAD, 0);
    if (me.lock_fd >= 0)
        close(me.lock_fd);
    if (me.port_fd >= 0)
        close(me.port_fd);
    me.lock_fd = me.port_fd = -1;
    return SLIPSTREAM_OK;
}

static void destroy(void *instance) {
    (void)instance;
    obey(ON_DESTROY, 0);
    if (me.log >= 0)
        close(me.log);
    me.log = -1;
    slipstream_log(me.host, SLIPSTREAM_LOG_DEBUG, "destroyed");
}

static uint64_t subscribed_events(void *instance) {
    (void)instance;
    return UINT64_C(0xFFFFFFFF0000001F);
}

static int32_t acknowledge(uint64_t ordinal) {
    add_record((record){.type = ACKING, .ordinal = ordinal});
    write_out();
    me.unacked = 0;
    return slipstream_ack(me.host, ordinal);
}

static int32_t on_broadcast(void *instance, const slipstream_delivery *delivery,
                            const uint8_t *frames, size_t len) {
    size_t offset = 0;
    slipstream_frame frame;
    slipstream_gap gap;
    char what[64];
    int refuses = 0;
    (void)instance;
    for (uint64_t ordinal = delivery->first_ordinal;
         slipstream_next_frame(frames, len, &offset, &frame) == SLIPSTREAM_OK; ordinal++) {
        record r = {ordinal, frame.stream, frame.sequence,
                    hash_of(frame.whole.data + SLIPSTREAM_FRAME_HEADER_LEN,
                            frame.whole.len - SLIPSTREAM_FRAME_HEADER_LEN),
                    delivery->attempt, EVENT, 0, delivery->count, 0, 0};
        if (slipstream_read_gap(&frame, &gap) == SLIPSTREAM_OK) {
            r.type = GAP;
            r.hash = gap.reasons;
            r.first = gap.first;
            r.last = gap.last;
        }
        command_of(&frame, delivery->attempt, what, sizeof what);
        if (what[0] == '-') {
            write_out();
            obey(what + 1, ordinal);
            if (me.is_child)
                return SLIPSTREAM_OK;
        }
        if (strcmp(what, "refuse") == 0)
            r.type = REFUSED;
        add_record(r);
        if (strcmp(what, "refuse") == 0) {
            refuses = 1;
        } else if (what[0] != '\0' && what[0] != '-') {
            write_out();
            obey(what, ordinal);
            if (me.is_child)
                return SLIPSTREAM_OK;
        }
        if (r.type == GAP) {
            write_out();
            obey(ON_GAP, ordinal);
        }
        me.last = ordinal;
        me.unacked++;
    }
    write_out();
    if (refuses)
        return slipstream_fail(me.host, SLIPSTREAM_FAILED, "told to refuse");
    if (me.event_us > 0)
        sleep_us(me.event_us);
    if ((FLAGS & SLIPSTREAM_FLAG_EXPLICIT_ACK) != 0 && me.ack_every > 0 &&
        me.unacked >= (uint64_t)me.ack_every)
        return acknowledge(me.last);
    return SLIPSTREAM_OK;
}

static int32_t flush(void *instance, uint32_t timeout_ms) {
    (void)instance;
    (void)timeout_ms;
    obey(me.crashes_in_flush ? "segv" : ON_FLUSH, 0);
    add_record((record){.type = ACKING, .ordinal = me.last});
    write_out();
    me.unacked = 0;
    return SLIPSTREAM_OK;
}

const slipstream_plugin *slipstream_create_plugin_v1(const slipstream_host *host) {
    static const slipstream_plugin table = {sizeof table, SLIPSTREAM_ABI_MINOR, 0, FLAGS, NULL,
                                            NAME, VERSION, destroy, on_load, on_unload,
                                            subscribed_events, on_broadcast, flush, NULL};
    me.host = host;
    obey(ON_CREATE, 0);
    return &table;
}
