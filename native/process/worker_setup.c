#include "process/worker_setup.h"

#include "process/limits.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <pwd.h>
#include <signal.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <unistd.h>

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
    setrlimit((ss_limit_number)resource, &wanted);
}

static void ignore(int number) {
    (void)number;
}

/* Who is in the terminal's session could write into it as if it were typed, above all as another
 * user than the host; and SIGHUP may come to all of a session. It is handled, not ignored: what a
 * plugin starts would inherit that. */
void ss_worker_leave_terminal(void) {
    const int terminal = open("/dev/tty", O_RDWR | O_NOCTTY | O_NONBLOCK | O_CLOEXEC);
    if (terminal >= 0) {
        ioctl(terminal, TIOCNOTTY);
        close(terminal);
    }
    const struct sigaction nothing = {.sa_handler = ignore, .sa_flags = SA_RESTART};
    sigaction(SIGHUP, &nothing, NULL);
}

/* Where memory runs out the kernel ends the largest process: that may be the host, for what a plugin
 * has taken. A worker is started again, and loses nothing. */
void ss_worker_offer_itself(void) {
    enum { SOONER = 500, MOST = 1000 }; /* see proc(5), oom_score_adj */
    FILE *file = fopen("/proc/self/oom_score_adj", "r+e");
    int own;
    if (file == NULL)
        return;
    if (fscanf(file, "%d", &own) == 1 && fseek(file, 0, SEEK_SET) == 0)
        fprintf(file, "%d", own + SOONER < MOST ? own + SOONER : MOST);
    fclose(file);
}

bool ss_worker_map(const ss_start *start, ss_view *view) {
    if (!ss_view_open(view, SS_FD_RING, SS_FD_CONTROL, start->ring_bytes, start->overflow))
        return false;
    close(SS_FD_RING);
    close(SS_FD_CONTROL);
    return true;
}

static bool become(const char *user, const char **failed) {
    if (user[0] == '\0')
        return true;
    *failed = "getpwnam";
    errno = 0;
    const struct passwd *entry = getpwnam(user);
    if (entry == NULL)
        return false;
    *failed = "setgroups";
    if (initgroups(user, entry->pw_gid) != 0)
        return false;
    *failed = "setgid";
    if (setgid(entry->pw_gid) != 0)
        return false;
    *failed = "setuid";
    return setuid(entry->pw_uid) == 0 && prctl(PR_SET_PDEATHSIG, SIGKILL) == 0;
}

bool ss_worker_confine(const ss_start *start, const char *user, const char **failed) {
    if (start->open_files != 0)
        limit(RLIMIT_NOFILE, start->open_files);
    if (start->memory != 0)
        limit(RLIMIT_AS, start->memory + 2 * start->ring_bytes +
                             (start->terms.offers == 0 ? 0 : ss_hatch_size(&start->terms)));
    if (!become(user, failed))
        return false;
    if (start->core_files)
        allow_core_files();
    else
        limit(RLIMIT_CORE, 0);
    return true;
}
