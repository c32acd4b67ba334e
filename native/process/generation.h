/* generation: one process of a supervised plugin, seen from the host: starting it (spawn.c),
 * talking to it, reading what it prints (lines), and finding out how it ended (report). It
 * decides nothing; that is the supervisor's business. [supervisor thread] */
#ifndef SS_GENERATION_H
#define SS_GENERATION_H

#include "consumer/watch.h"
#include "process/lines.h"
#include "process/protocol.h"
#include "process/report.h"
#include "process/spec.h"
#include "ring/ring.h"

#include <slipstream.h>

#include <sys/types.h>

typedef struct ss_generation {
    ss_kept_spec *spec;
    pid_t pid;
    int pidfd;
    int channel;
    ss_lines out;
    ss_lines err;
    ss_control *control;
    uint64_t side; /* of the desk; 0: it has no hatch */
    uint64_t started_ns;
    uint64_t deadline_ns; /* of the phase; 0: none */
    uint32_t flags;
    uint64_t kinds;
    char name[SLIPSTREAM_NAME_MAX + 1];
    char version[SLIPSTREAM_NAME_MAX + 1];
    char *claims; /* texts, one behind the other */
    size_t claims_len;
    char oom_file[1100]; /* counts what its cgroup has lost for lack of memory; "" */
    uint64_t oom_kills;  /* at its start */
    char mark[64]; /* in the environment of its process, and of those that it starts */
    char kill_reason[200]; /* why the host killed it; "" */
    uint64_t fault_ns; /* when it was seen to die of a signal; 0: not yet */
    uint64_t kill_ns; /* when to do it, after it was asked to abort; 0: not, or done */
    uint64_t left_ns; /* when it is given up, for it may not be signalled; 0: it may */
    ss_watch watch;
    struct { /* what was seen of it when it did something last, with events waiting */
        uint64_t since_ns;
        uint64_t started;
        uint64_t calls;
        uint64_t acked;
        uint32_t sleep;
    } idle;
    uint64_t sane_ns; /* when what it writes made sense last */
    ss_last_lines last;
} ss_generation;

/* Why one could not be started, and the next step. */
typedef struct ss_no_start {
    char text[512];
    const char *hint;
} ss_no_start;

/* Starts a worker and lets it open the library. NULL, and `why`, when it cannot. */
ss_generation *ss_generation_start(const char *program, ss_kept_spec *spec, ss_ring *ring,
                                   uint32_t overflow, ss_no_start *why);
/* Kills it if it lives, reaps it, closes everything; the control area too unless the ring
 * uses it. */
void ss_generation_free(ss_generation *generation, ss_ring *ring);

void ss_generation_say(ss_generation *generation, uint32_t type, uint64_t number, const void *data,
                       size_t len);
void ss_generation_say_load(ss_generation *generation, uint32_t reason);
/* Asks it to abort, so that its report says where it was, and kills it soon after. */
void ss_generation_kill(ss_generation *generation, const char *reason);
/* Now and then: does the latter. */
void ss_generation_finish_kill(ss_generation *generation, uint64_t now);

/* Takes one message; its data goes to `data` (SS_MESSAGE_ROOM). False if there is none. */
bool ss_generation_receive(ss_generation *generation, ss_message *head, char *data);
/* Drains what was printed into the log. */
void ss_generation_drain(ss_generation *generation, ss_log_queue *log);
/* What is left of it, once nothing follows. */
void ss_generation_end_lines(ss_generation *generation, ss_log_queue *log);
/* If it has ended: reaps it and fills the report's process part; what it has left behind goes
 * with it. */
bool ss_generation_reap(ss_generation *generation, ss_report *report, ss_log_queue *log);
/* In oom.c: looks at its start what was killed for lack of memory in its cgroup, and later whether
 * more was. */
void ss_oom_start(ss_generation *generation);
bool ss_oom_has_killed(const ss_generation *generation);
/* In leftovers.c: kills what is left of a dead one's process group, before it is reaped, and says
 * which processes have left that; NULL: does not look. */
void ss_generation_end_group(const ss_generation *generation, ss_log_queue *log);

void ss_close_fd(int *fd);

#endif
