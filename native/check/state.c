#include "check/state.h"

#include "check/notes.h"
#include "process/limits.h"

#include <dirent.h>
#include <fcntl.h>
#include <fenv.h>
#include <locale.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum {
    TEXT = 64 * 1024,
    PIECE = 512,
    PATIENCE_MS = 300, /* a thread that was joined is listed a moment longer */
};

/* A part of the state as a text, one line for each thing; what differs is then shown line by
 * line. */
typedef struct lines {
    char text[TEXT];
    size_t used;
    bool is_cut; /* there was more, or it could not be looked at */
} lines;

__attribute__((format(printf, 2, 3))) static void add(lines *out, const char *format, ...) {
    va_list args;
    va_start(args, format);
    const int len = vsnprintf(out->text + out->used, TEXT - out->used, format, args);
    va_end(args);
    if (len > 0 && out->used + (size_t)len < TEXT)
        out->used += (size_t)len;
    else {
        out->text[out->used] = '\0'; /* no half lines */
        out->is_cut = true;
    }
}

static void each_name(const char *folder, void (*visit)(lines *, const char *), lines *out) {
    DIR *open = opendir(folder);
    struct dirent *entry;
    out->is_cut |= open == NULL;
    while (open != NULL && (entry = readdir(open)) != NULL)
        if (entry->d_name[0] != '.')
            visit(out, entry->d_name);
    if (open != NULL)
        closedir(open);
}

/* A small file of /proc. */
static size_t read_file(const char *path, char *out, size_t room) {
    const int fd = open(path, O_RDONLY | O_CLOEXEC);
    size_t used = 0;
    ssize_t got = 0;
    while (fd >= 0 && used + 1 < room && (got = read(fd, out + used, room - 1 - used)) > 0)
        used += (size_t)got;
    if (fd >= 0)
        close(fd);
    out[used] = '\0';
    return used;
}

/* ---- The parts ----------------------------------------------------------------------------- */

/* NULL: it has none. C libraries have a function for it since 2020, or not at all. */
static const char *signal_name(int number) {
    static const char names[][7] = {
        [SIGHUP] = "HUP",   [SIGINT] = "INT",       [SIGQUIT] = "QUIT",     [SIGILL] = "ILL",
        [SIGTRAP] = "TRAP", [SIGABRT] = "ABRT",     [SIGBUS] = "BUS",       [SIGFPE] = "FPE",
        [SIGKILL] = "KILL", [SIGUSR1] = "USR1",     [SIGSEGV] = "SEGV",     [SIGUSR2] = "USR2",
        [SIGPIPE] = "PIPE", [SIGALRM] = "ALRM",     [SIGTERM] = "TERM",     [SIGSTKFLT] = "STKFLT",
        [SIGCHLD] = "CHLD", [SIGCONT] = "CONT",     [SIGSTOP] = "STOP",     [SIGTSTP] = "TSTP",
        [SIGTTIN] = "TTIN", [SIGTTOU] = "TTOU",     [SIGURG] = "URG",       [SIGXCPU] = "XCPU",
        [SIGXFSZ] = "XFSZ", [SIGVTALRM] = "VTALRM", [SIGPROF] = "PROF",     [SIGWINCH] = "WINCH",
        [SIGPOLL] = "POLL", [SIGPWR] = "PWR",       [SIGSYS] = "SYS",
    };
    return number < (int)(sizeof names / sizeof names[0]) ? names[number] : NULL;
}

static void signals(lines *out) {
    for (int number = 1; number < NSIG; number++) {
        struct sigaction action;
        if (sigaction(number, NULL, &action) != 0)
            continue;
        const void *handler = (action.sa_flags & SA_SIGINFO) != 0
                                  ? (const void *)(uintptr_t)action.sa_sigaction
                                  : (const void *)(uintptr_t)action.sa_handler;
        add(out, "the handler of %s is %s (%p)\n",
            signal_name(number) != NULL ? signal_name(number) : "a real-time signal",
            handler == (const void *)(uintptr_t)SIG_DFL   ? "the default"
            : handler == (const void *)(uintptr_t)SIG_IGN ? "to ignore it"
                                                          : "a function",
            handler);
    }
}

static void mask(lines *out) {
    sigset_t set;
    pthread_sigmask(SIG_SETMASK, NULL, &set);
    for (int number = 1; number < 32; number++)
        if (sigismember(&set, number) == 1)
            add(out, "%s is blocked\n", signal_name(number));
}

static void locales(lines *out) {
    add(out, "the locale is %s\n", setlocale(LC_ALL, NULL));
    add(out, "the thread's locale is %s\n",
        uselocale((locale_t)0) == LC_GLOBAL_LOCALE ? "the process's" : "one of its own");
}

static void floats(lines *out) {
    add(out, "the rounding mode is %d\n", fegetround());
#if defined(__GLIBC__)
    add(out, "the exceptions that trap are %d\n", fegetexcept());
#endif
#if defined(__x86_64__)
    enum { FLAGS = 0x3F };
    add(out, "the control word of the floating-point unit is %#x\n",
        __builtin_ia32_stmxcsr() & ~(unsigned)FLAGS);
#endif
}

static void output(lines *out) {
    for (int fd = STDOUT_FILENO; fd <= STDERR_FILENO; fd++) {
        struct stat file;
        if (fstat(fd, &file) == 0)
            add(out, "%lld bytes went to %s\n", (long long)file.st_size,
                fd == STDOUT_FILENO ? "standard output" : "standard error");
    }
}

static void directory(lines *out) {
    char path[4096];
    add(out, "the working directory is %s\n", getcwd(path, sizeof path) == NULL ? "?" : path);
}

static void mode_mask(lines *out) {
    const mode_t now = umask(0);
    umask(now);
    add(out, "the umask is %04o\n", (unsigned)now);
}

static void variables(lines *out) {
    for (char **at = environ; at != NULL && *at != NULL; at++)
        add(out, "the environment has %.200s\n", *at);
}

static void timers(lines *out) {
    static const char *const names[] = {"ITIMER_REAL", "ITIMER_VIRTUAL", "ITIMER_PROF"};
    char text[4096];
    for (int which = 0; which < 3; which++) {
        struct itimerval now;
        if (getitimer((ss_timer_number)which, &now) == 0)
            add(out, "%s is %s\n", names[which],
                now.it_value.tv_sec != 0 || now.it_value.tv_usec != 0 ? "running" : "off");
    }
    read_file("/proc/self/timers", text, sizeof text);
    for (char *at = strstr(text, "ID:"); at != NULL; at = strstr(at + 1, "ID:"))
        add(out, "there is a timer (%.*s)\n", (int)strcspn(at, "\n"), at);
}

static void limits(lines *out) {
    static const char *const names[] = {"CPU",    "FSIZE",   "DATA", "STACK",      "CORE",
                                        "RSS",    "NPROC",   "NOFILE", "MEMLOCK",  "AS",
                                        "LOCKS",  "SIGPENDING", "MSGQUEUE", "NICE", "RTPRIO",
                                        "RTTIME"};
    for (unsigned which = 0; which < sizeof names / sizeof names[0]; which++) {
        struct rlimit now;
        if (getrlimit((ss_limit_number)which, &now) == 0)
            add(out, "RLIMIT_%s is %llu, at most %llu\n", names[which],
                (unsigned long long)now.rlim_cur, (unsigned long long)now.rlim_max);
    }
}

static void thread(lines *out, const char *id) {
    char path[64];
    char name[64];
    snprintf(path, sizeof path, "/proc/self/task/%.20s/comm", id);
    const size_t len = read_file(path, name, sizeof name);
    if (len > 0)
        add(out, "there is the thread %s, named %.*s\n", id, (int)len - 1, name);
}

static void threads(lines *out) {
    each_name("/proc/self/task", thread, out);
}

/* Signals that a program wants to get on a thread of its own. Those that a fault raises in the
 * thread itself may be open. */
static void thread_mask(lines *out, const char *id) {
    static const int wanted[] = {SIGHUP, SIGINT, SIGQUIT, SIGUSR1, SIGUSR2, SIGALRM,
                                 SIGTERM, SIGCHLD, SIGCONT, SIGTSTP, SIGWINCH, SIGIO};
    char path[64];
    char status[8192];
    if (atoi(id) == getpid())
        return;
    snprintf(path, sizeof path, "/proc/self/task/%.20s/status", id);
    read_file(path, status, sizeof status);
    const char *blocked = strstr(status, "SigBlk:");
    if (blocked == NULL)
        return;
    const uint64_t set = strtoull(blocked + strlen("SigBlk:"), NULL, 16);
    for (size_t i = 0; i < sizeof wanted / sizeof wanted[0]; i++)
        if ((set >> (wanted[i] - 1) & 1) == 0) {
            add(out, "the thread %s does not block %s\n", id, signal_name(wanted[i]));
            return;
        }
}

static void thread_masks(lines *out) {
    each_name("/proc/self/task", thread_mask, out);
}

static void descriptor(lines *out, const char *number) {
    char path[64];
    char target[PIECE];
    snprintf(path, sizeof path, "/proc/self/fd/%.20s", number);
    const ssize_t len = readlink(path, target, sizeof target);
    if (len > 0)
        add(out, "descriptor %s is open: %.*s\n", number, (int)len, target);
}

static void descriptors(lines *out) {
    DIR *folder = opendir("/proc/self/fd");
    char own[16];
    struct dirent *entry;
    out->is_cut |= folder == NULL;
    if (folder == NULL)
        return;
    snprintf(own, sizeof own, "%d", dirfd(folder));
    while ((entry = readdir(folder)) != NULL)
        if (entry->d_name[0] != '.' && strcmp(entry->d_name, own) != 0)
            descriptor(out, entry->d_name);
    closedir(folder);
}

static void child_of(lines *out, const char *id) {
    char path[64];
    char text[4096];
    snprintf(path, sizeof path, "/proc/self/task/%.20s/children", id);
    read_file(path, text, sizeof text);
    for (char *at = strtok(text, " \n"); at != NULL; at = strtok(NULL, " \n"))
        add(out, "there is the child process %s\n", at);
}

static void children(lines *out) {
    each_name("/proc/self/task", child_of, out);
}

static void file(lines *out, const char *name) {
    add(out, "there is the file %.200s\n", name);
}

static void files(lines *out) {
    const char *folder = getenv("TMPDIR");
    if (folder != NULL)
        each_name(folder, file, out);
}

static void (*const parts_of[SS_STATES])(lines *) = {
    [SS_STATE_SIGNALS] = signals,
    [SS_STATE_MASK] = mask,
    [SS_STATE_LOCALE] = locales,
    [SS_STATE_FLOATS] = floats,
    [SS_STATE_OUTPUT] = output,
    [SS_STATE_DIRECTORY] = directory,
    [SS_STATE_UMASK] = mode_mask,
    [SS_STATE_ENVIRONMENT] = variables,
    [SS_STATE_TIMERS] = timers,
    [SS_STATE_LIMITS] = limits,
    [SS_STATE_THREADS] = threads,
    [SS_STATE_THREAD_MASKS] = thread_masks,
    [SS_STATE_DESCRIPTORS] = descriptors,
    [SS_STATE_CHILDREN] = children,
    [SS_STATE_FILES] = files,
};

/* ---- Comparing ----------------------------------------------------------------------------- */

static lines kept[SS_KEPT][SS_STATES];
static lines now;

static void look(uint32_t part, lines *out) {
    memset(out, 0, sizeof *out);
    parts_of[part](out);
}

void ss_state_keep(uint32_t at) {
    fflush(NULL);
    for (uint32_t part = 0; part < SS_STATES; part++)
        look(part, &kept[at][part]);
}

static bool has(const lines *in, const char *line, size_t len) {
    for (const char *at = in->text; *at != '\0'; at += strcspn(at, "\n") + 1)
        if (strncmp(at, line, len) == 0 && at[len] == '\n')
            return true;
    return false;
}

/* What is there now and was not; how many. */
static int differ(uint32_t part, const lines *before, bool tell) {
    int count = 0;
    for (const char *at = now.text; *at != '\0'; at += strcspn(at, "\n") + 1) {
        const size_t len = strcspn(at, "\n");
        if (has(before, at, len))
            continue;
        count++;
        if (tell)
            ss_note(SS_PLAYED_CHANGE, 0, part, 0, at, len);
    }
    return count;
}

/* What the environment had, and has not any more. */
static void tell_lost(uint32_t part, const lines *before) {
    for (const char *at = before->text; *at != '\0'; at += strcspn(at, "\n") + 1) {
        char text[PIECE];
        const size_t len = strcspn(at, "\n");
        if (has(&now, at, len))
            continue;
        const int used = snprintf(text, sizeof text, "before, %.*s", (int)(len < 400 ? len : 400), at);
        ss_note(SS_PLAYED_CHANGE, 0, part, 0, text, (size_t)used);
    }
}

void ss_state_compare(uint32_t at, uint32_t parts) {
    fflush(NULL);
    for (uint32_t part = 0; part < SS_STATES; part++) {
        if ((parts >> part & 1) == 0)
            continue;
        const lines *before = &kept[at][part];
        const bool ends_late = part == SS_STATE_THREADS || part == SS_STATE_CHILDREN;
        look(part, &now);
        for (int ms = 0; ends_late && differ(part, before, false) > 0 && ms < PATIENCE_MS; ms++) {
            const struct timespec pause = {0, 1000000};
            nanosleep(&pause, NULL);
            look(part, &now);
        }
        if (before->is_cut || now.is_cut)
            ss_note_text(SS_PLAYED_UNPLAYED, 0, "the state of the process cannot be seen whole");
        differ(part, before, true);
        if (part == SS_STATE_ENVIRONMENT)
            tell_lost(part, before);
    }
}

static void runs(lines *out, const char *id) {
    char path[64];
    char text[512];
    if (atoi(id) == ss_os_thread_own_id())
        return;
    snprintf(path, sizeof path, "/proc/self/task/%.20s/stat", id);
    read_file(path, text, sizeof text);
    const char *name_end = strrchr(text, ')');
    if (name_end != NULL && strncmp(name_end, ") R", 3) == 0)
        add(out, "thread %s runs\n", id);
}

bool ss_state_others_run(void) {
    memset(&now, 0, sizeof now);
    each_name("/proc/self/task", runs, &now);
    return now.used > 0;
}
