/* process: one generation of a worker process, seen from the host: starting it, talking to
 * it, reading what it prints, and finding out how it ended. It decides nothing; that is the
 * supervisor's business. [supervisor thread] */
#ifndef SS_PROCESS_H
#define SS_PROCESS_H

#include "process/protocol.h"
#include "base/log_queue.h"
#include "ring/ring.h"
#include "process/supervisor.h"

#include <sys/types.h>

enum ss_phase {
    SS_PHASE_OPENING,
    SS_PHASE_OPENED,
    SS_PHASE_LOADING,
    SS_PHASE_LOADED,
    SS_PHASE_RUNNING,
    SS_PHASE_DRAINING,
    SS_PHASE_UNLOADING,
    SS_PHASE_EXITING,
};

/* A copy of an ss_spec that owns its texts. */
typedef struct ss_recipe {
    ss_spec spec;
    _Atomic uint32_t references;
} ss_recipe;
ss_recipe *ss_recipe_new(const ss_spec *spec);
void ss_recipe_release(ss_recipe *recipe);
bool ss_recipe_set_config(ss_recipe *recipe, const char *config, size_t len);

/* What a worker prints on a pipe, cut into lines. */
typedef struct ss_lines {
    int fd;
    uint32_t used;
    uint32_t tokens;   /* lines that may pass in this second */
    uint32_t withheld;
    uint64_t second;
    char line[8192];
} ss_lines;

typedef struct ss_process {
    ss_recipe *recipe;
    enum ss_phase phase;
    pid_t pid;
    int pidfd;
    int channel;
    ss_lines out;
    ss_lines err;
    ss_control *control;
    uint64_t started_ns;
    uint64_t deadline_ns; /* of the phase; 0: none */
    bool hurried;         /* while draining: told to stop after the call under way */
    uint32_t flags;
    uint64_t kinds;
    char name[SLIPSTREAM_NAME_MAX + 1];
    char version[SLIPSTREAM_NAME_MAX + 1];
    char *claims; /* texts, one behind the other */
    size_t claims_len;
    char kill_reason[200]; /* why the host killed it; "" */
    /* The watchdog's last look. */
    uint64_t seen_started;
    uint64_t seen_calls;
    bool seen_flushing;
    uint64_t seen_since_ns;
    uint64_t sane_ns; /* when what it writes made sense last */
    uint32_t next_line;
    char lines[SS_REPORT_LINES][256];
} ss_process;

/* Starts a worker and lets it open the library. NULL with a text when it cannot. */
ss_process *ss_process_start(const char *program, ss_recipe *recipe, ss_ring *ring,
                             uint32_t overflow, char *why, size_t room);
/* Kills it if it lives, reaps it, closes everything; the control area too unless the ring
 * uses it. */
void ss_process_free(ss_process *process, ss_ring *ring);

void ss_process_say(ss_process *process, uint32_t type, uint64_t number, const void *data,
                    size_t len);
void ss_process_say_load(ss_process *process, uint32_t reason);
void ss_process_kill(ss_process *process, const char *reason);

/* Takes one message; its data goes to `data` (SS_MESSAGE_MAX bytes). False if there is none. */
bool ss_process_receive(ss_process *process, ss_message *head, char *data);
/* Drains what was printed into the log. */
void ss_process_drain(ss_process *process, ss_logq *log);
/* What is left of it, once nothing follows. */
void ss_process_end_lines(ss_process *process, ss_logq *log);
void ss_process_keep_line(ss_process *process, const char *text, size_t len);
/* If it has ended: reaps it and fills the report's process part. */
bool ss_process_reap(ss_process *process, ss_report *report);

#endif
