/* trial: what the core asks of Linux, tried with the calls that the core makes. Children of
 * these trials run nothing but system calls, for a fork leaves them one thread of many. */
#include "platform/linux/inner.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

enum { PATIENCE_MS = 2000, DID_NOT_END = 255 };
static const uint64_t patience = UINT64_C(1000000) * PATIENCE_MS;

/* Does it work? Else `why` says why not; NULL means what errno says. */
typedef bool trial(const char **why);

static pid_t start(int (*work)(void *), void *context) {
    const pid_t pid = fork();
    if (pid == 0)
        _exit(work(context));
    return pid;
}

/* The exit code of a child, who is killed if it takes too long. `word`: wakes it again and again,
 * for nobody knows when it waits. */
static int end_of(pid_t pid, const _Atomic uint32_t *word) {
    const uint64_t end = ss_os_now_ns() + 2 * patience;
    int status = 0;
    while (pid > 0 && waitpid(pid, &status, WNOHANG) == 0) {
        if (ss_os_now_ns() > end)
            kill(pid, SIGKILL);
        if (word != NULL)
            ss_os_wake(word, true);
        ss_os_sleep_ns(1000000);
    }
    return pid > 0 && WIFEXITED(status) ? WEXITSTATUS(status) : DID_NOT_END;
}

static bool comes(int fd, short event) {
    struct pollfd waits = {fd, event, 0};
    return poll(&waits, 1, PATIENCE_MS) == 1;
}

/* Two views of one piece of memory, of this process and as another would get it. */
static bool try_memory_file(const char **why) {
    int fd = -1;
    char *area = ss_os_area_new(SS_OS_PAGE, &fd);
    if (area == NULL)
        return false;
    char *other = ss_os_area_open(fd, SS_OS_PAGE);
    memcpy(area, "slip", 5);
    const bool same = other != NULL && strcmp(other, "slip") == 0;
    *why = "what was written is not there";
    ss_os_area_free(other, SS_OS_PAGE);
    ss_os_area_free(area, SS_OS_PAGE);
    close(fd);
    return same;
}

static bool try_seals(const char **why) {
    int fd = -1;
    void *area = ss_os_area_new(SS_OS_PAGE, &fd);
    if (area == NULL)
        return false;
    const bool sealed = ftruncate(fd, 0) != 0 && ftruncate(fd, 2 * SS_OS_PAGE) != 0;
    *why = "a sealed file could be resized";
    ss_os_area_free(area, SS_OS_PAGE);
    close(fd);
    return sealed;
}

static bool try_read_only(const char **why) {
    int fd = -1;
    uint8_t *ring = ss_os_mirror_new(SS_OS_PAGE, SS_OS_PAGE, &fd);
    if (ring == NULL)
        return false;
    void *writable = ss_os_area_open(fd, SS_OS_PAGE);
    const uint8_t *reader = ss_os_mirror_open(fd, SS_OS_PAGE, SS_OS_PAGE);
    ring[SS_OS_PAGE] = 1;
    const bool seen = reader != NULL && reader[2 * SS_OS_PAGE] == 1;
    *why =
        seen ? "a sealed file could be mapped for writing" : "what was written is not there twice";
    ss_os_area_free(writable, SS_OS_PAGE);
    ss_os_mirror_free(reader, SS_OS_PAGE, SS_OS_PAGE);
    ss_os_mirror_free(ring, SS_OS_PAGE, SS_OS_PAGE);
    close(fd);
    return writable == NULL && seen;
}

static int wait_for_wake(void *word) {
    errno = 0;
    ss_os_wait(word, 0, patience, true);
    return errno;
}

static bool try_wake(const char **why) {
    int fd = -1;
    void *word = ss_os_area_new(SS_OS_PAGE, &fd);
    if (word == NULL)
        return false;
    const int error = end_of(start(wait_for_wake, word), word);
    ss_os_area_free(word, SS_OS_PAGE);
    close(fd);
    *why = error == ETIMEDOUT ? "another process was not woken" : strerror(error);
    return error == 0;
}

static int do_nothing(void *unused) {
    (void)unused;
    return 0;
}

static bool try_pidfd(const char **why) {
    const pid_t pid = start(do_nothing, NULL);
    const int fd = pid < 0 ? -1 : (int)syscall(SYS_pidfd_open, pid, 0);
    const int error = errno;
    const bool told = fd >= 0 && comes(fd, POLLIN);
    end_of(pid, NULL);
    *why = fd >= 0 ? "did not tell of a child's end" : strerror(error);
    ss_os_file_close(fd);
    return told;
}

static bool try_barrier(const char **why) {
    *why = NULL;
    return ss_os_barrier() && ss_os_has_barrier();
}

static int outlive(void *pipe) {
    const int *fds = pipe;
    if (prctl(PR_SET_PDEATHSIG, SIGKILL) == 0 && write(fds[1], "r", 1) == 1)
        ss_os_sleep_ns(2 * patience);
    return 0;
}

static int leave_a_child(void *pipe) {
    const int *fds = pipe;
    char ready;
    start(outlive, pipe);
    return comes(fds[0], POLLIN) && read(fds[0], &ready, 1) == 1 ? 0 : 1;
}

/* A grandchild that asks for it must end, and its end of the pipe with it. */
static bool try_parent_death(const char **why) {
    int fds[2];
    if (pipe2(fds, O_CLOEXEC) != 0)
        return false;
    const bool asked = end_of(start(leave_a_child, fds), NULL) == 0;
    close(fds[1]);
    const bool ended = asked && comes(fds[0], POLLHUP);
    close(fds[0]);
    *why = asked ? "a child outlived its parent" : "prctl refused it";
    return ended;
}

static bool try_reading(const char **why) {
    char copy[5] = "";
    if (ss_os_read_directly("slip", copy, sizeof copy) < 0)
        return false;
    *why = "read something else";
    return strcmp(copy, "slip") == 0;
}

static int see_a_fork(void *before) {
    const uint32_t *number = before;
    return !ss_os_is_process(*number) && ss_os_process() != *number ? 0 : 1;
}

static bool try_fork_mark(const char **why) {
    uint32_t number = ss_os_process();
    const bool marked = ss_os_is_process(number) && ss_os_has_fork_mark();
    const bool seen = end_of(start(see_a_fork, &number), NULL) == 0;
    *why = marked ? "not wiped in a child" : "the kernel does not know it";
    return marked && seen;
}

static bool is_any(const ss_os_mapping *m, void *unused) {
    (void)m, (void)unused;
    return true;
}

static bool try_maps(const char **why) {
    if (ss_os_each_mapping(is_any, NULL) < 0)
        return false;
    uintptr_t addresses[] = {(uintptr_t)try_maps, (uintptr_t)&addresses};
    *why = "does not tell code from data";
    return ss_os_find_not_executable(addresses, 2) == 1;
}

static int become_another(void *unused) {
    const unsigned nobody = 65534;
    (void)unused;
    errno = 0;
    return setgroups(0, NULL) == 0 && setgid(nobody) == 0 && setuid(nobody) == 0 ? 0 : errno;
}

static bool try_other_user(const char **why) {
    const int error = end_of(start(become_another, NULL), NULL);
    *why = strerror(error);
    return error == 0;
}

bool ss_os_try(uint32_t number, ss_os_trial *out) {
    static const struct {
        trial *run;
        const char *name;
        const char *found;
    } trials[] = {
        {try_memory_file, "memfd_create", "created and mapped"},
        {try_seals, "seals", "a sealed file cannot be resized"},
        {try_read_only, "F_SEAL_FUTURE_WRITE", "only the first mapping can write"},
        {try_wake, "shared futex", "woke another process"},
        {try_pidfd, "pidfd_open", "told of a child's end"},
        {try_barrier, "membarrier", "global expedited"},
        {try_parent_death, "PR_SET_PDEATHSIG", "a child ended with its parent"},
        {try_reading, "process_vm_readv", "read own memory"},
        {try_fork_mark, "MADV_WIPEONFORK", "wiped in a child"},
        {try_maps, "/proc/self/maps", "tells code from data"},
        {try_other_user, "setuid", "a child became another user"},
    };
    if (number >= sizeof trials / sizeof trials[0])
        return false;
    const char *why = NULL;
    out->works = trials[number].run(&why);
    out->name = trials[number].name;
    out->found = out->works ? trials[number].found : why != NULL ? why : strerror(errno);
    return true;
}
