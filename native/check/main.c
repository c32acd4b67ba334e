/* main of slipstream-check: plays a script with a plugin, in a process that may fall.
 *
 *   slipstream-check CALL_MS WHOLE_MS NONCE MEMORY_BYTES SCRIPT PLAYED TRACE ENDED
 *
 * It is started by `slipstream check`; the last four are numbers of descriptors: the script, the pipe
 * for what is played, the trace, a pipe for how it ended. Two processes: the keeper, which runs nothing of
 * the plugin, and its child, the player, in a session of its own: what the plugin does to its
 * process group, or to its parent's, does not reach the judge. The keeper waits for the player for as
 * long as one call may take, anew with each call, and as all may take; it then ends all that the
 * plugin has started, and says how the player ended. */
#include "check/steps.h"
#include "check/notes.h"
#include "process/limits.h"
#include "process/worker_faults.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum {
    FILE_BYTES = 256 << 20,
    EXIT_SET_UP = 98,
    POLL_MS = 2,
};

static struct {
    int script;
    int played;
    int trace;
    int ended;
} fds;

/* ---- The player ------------------------------------------------------------------------------ */

static void *map_file(int fd, int protection, size_t *len) {
    struct stat file;
    if (fstat(fd, &file) != 0 || file.st_size == 0)
        _exit(EXIT_SET_UP);
    void *at = mmap(NULL, (size_t)file.st_size, protection, MAP_SHARED, fd, 0);
    if (at == MAP_FAILED)
        _exit(EXIT_SET_UP);
    *len = (size_t)file.st_size;
    close(fd);
    return at;
}

static void limit(ss_limit_number resource, rlim_t value) {
    struct rlimit now;
    if (getrlimit(resource, &now) == 0 && value < now.rlim_max) {
        now.rlim_cur = now.rlim_max = value;
        setrlimit(resource, &now);
    }
}

static void play(uint64_t nonce, rlim_t memory, ss_play_trace *trace) {
    size_t script_len;
    setsid();
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    prctl(PR_SET_DUMPABLE, 1);
    const uint8_t *script = map_file(fds.script, PROT_READ, &script_len);
    close(fds.ended);
    fcntl(fds.played, F_SETFD, FD_CLOEXEC);
    limit(RLIMIT_CORE, 0);
    limit(RLIMIT_FSIZE, FILE_BYTES);
    if (memory != 0)
        limit(RLIMIT_DATA, memory);
    ss_note_to(fds.played, nonce, trace);
    ss_os_use_fault_stack();
    ss_catch_faults(&trace->fault);
    ss_play(script, script_len);
    fflush(NULL);
    _exit(0); /* what a plugin has left for the process's end is a step of its own */
}

/* ---- The keeper ------------------------------------------------------------------------------ */

static uint64_t now_ms(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

/* Ends all children, and theirs, which come to us when their parents end; how many there were. */
static uint32_t end_children(void) {
    char path[64];
    char list[4096];
    uint32_t ended = 0;
    snprintf(path, sizeof path, "/proc/self/task/%d/children", (int)getpid());
    for (int round = 0; round < 1000; round++) {
        FILE *file = fopen(path, "r");
        const size_t len = file == NULL ? 0 : fread(list, 1, sizeof list - 1, file);
        if (file != NULL)
            fclose(file);
        list[len] = '\0';
        for (char *at = strtok(list, " \n"); at != NULL; at = strtok(NULL, " \n")) {
            kill((pid_t)atoi(at), SIGKILL);
            ended++;
        }
        if (waitpid(-1, NULL, 0) < 0 && errno == ECHILD)
            break;
    }
    return ended;
}

/* True if the player has ended; what it has left behind and has ended meanwhile is reaped, too. */
static bool has_ended(pid_t player, int *status) {
    pid_t gone;
    int other;
    while ((gone = waitpid(-1, &other, WNOHANG)) > 0)
        if (gone == player) {
            *status = other;
            return true;
        }
    return false;
}

/* How far the player is; a plugin that scribbles here only shortens or lengthens its own time. */
static uint64_t place_of(const volatile ss_play_trace *trace) {
    return trace->calls + ((uint64_t)trace->step << 40);
}

/* Waits for the player's end; for `call_ms` from when it has last come further, and for `whole_ms`
 * in all. 0 if it has ended, else SS_PLAY_*_LATE. */
static uint32_t wait_for(pid_t player, const ss_play_trace *trace, uint64_t call_ms,
                         uint64_t whole_ms, int *status) {
    const struct timespec pause = {0, POLL_MS * 1000000};
    const uint64_t began = now_ms();
    uint64_t since = began;
    uint64_t place = place_of(trace);
    while (!has_ended(player, status)) {
        const uint64_t now = now_ms();
        const uint64_t next = place_of(trace);
        since = next != place ? now : since;
        place = next;
        if (now - since >= call_ms)
            return SS_PLAY_CALL_LATE;
        if (now - began >= whole_ms)
            return SS_PLAY_WHOLE_LATE;
        nanosleep(&pause, NULL);
    }
    return 0;
}

static ss_play_ended keep(pid_t player, const ss_play_trace *trace, uint64_t call_ms,
                          uint64_t whole_ms) {
    enum { LAST_WORDS_MS = 500 };
    ss_play_ended how = {0};
    int status = 0;
    how.timed_out = wait_for(player, trace, call_ms, whole_ms, &status);
    if (how.timed_out != 0) {
        kill(player, SIGABRT); /* it says where it is */
        if (wait_for(player, trace, LAST_WORDS_MS, LAST_WORDS_MS, &status) != 0) {
            kill(player, SIGKILL);
            waitpid(player, &status, 0);
        }
    }
    how.status = status;
    how.left = end_children();
    return how;
}

int main(int argc, char **argv) {
    enum { ARGUMENTS = 9 };
    if (argc == ARGUMENTS) {
        fds.script = atoi(argv[5]);
        fds.played = atoi(argv[6]);
        fds.trace = atoi(argv[7]);
        fds.ended = atoi(argv[8]);
    }
    if (argc != ARGUMENTS || fcntl(fds.ended, F_GETFD) < 0) {
        fprintf(stderr, "slipstream-check is started by `slipstream check`, not by hand\n");
        return 2;
    }
    const uint64_t call_ms = strtoull(argv[1], NULL, 10);
    const uint64_t whole_ms = strtoull(argv[2], NULL, 10);
    const uint64_t nonce = strtoull(argv[3], NULL, 10);
    const rlim_t memory = strtoull(argv[4], NULL, 10);
    size_t trace_len;
    memset(argv[3], '0', strlen(argv[3])); /* nobody finds it in /proc */
    ss_play_trace *trace = map_file(fds.trace, PROT_READ | PROT_WRITE, &trace_len);
    setsid();
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    prctl(PR_SET_CHILD_SUBREAPER, 1);
    fflush(NULL);
    const pid_t player = fork();
    if (player < 0)
        return EXIT_SET_UP;
    if (player == 0)
        play(nonce, memory, trace);
    const ss_play_ended how = keep(player, trace, call_ms, whole_ms);
    return write(fds.ended, &how, sizeof how) == sizeof how ? 0 : EXIT_SET_UP;
}
