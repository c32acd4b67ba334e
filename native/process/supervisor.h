/* supervisor: starts, watches, restarts and replaces the workers of one manager, on one
 * native thread that never takes an interpreter lock. Only that thread spawns them, since
 * a worker dies with the thread that spawned it.
 *
 * Between the marks stand only declarations; the build parses them. */
#ifndef SS_SUPERVISOR_H
#define SS_SUPERVISOR_H

#include "plugin/instance.h"
#include "ring/queue.h"

/* cdef:begin */
#define SS_WORKER_LOADING 0
#define SS_WORKER_RUNNING 1
#define SS_WORKER_BACKOFF 2
#define SS_WORKER_QUARANTINED 3
#define SS_WORKER_UNLOADING 4
#define SS_WORKER_FAILED 5
#define SS_WORKER_UNLOADED 6

typedef struct ss_supervisor ss_supervisor;
typedef struct ss_worker ss_worker;

/* How one generation of a plugin is run. Texts are copied; "" where there is none. */
typedef struct ss_spec {
    const char *path;
    const char *shown;
    const char *config_dir;
    const char *data_dir;
    const char *user;
    const char *config; /* what on_load gets; may be given to ss_worker_switch instead */
    size_t config_len;
    uint64_t memory;     /* bytes, 0: no limit */
    uint64_t open_files; /* 0: no limit */
    uint32_t source;
    uint32_t log_level;
    uint32_t load_timeout_ms;
    uint32_t unload_timeout_ms;
    uint32_t callback_timeout_ms; /* 0: off */
    uint32_t flush_idle_ms;
    uint32_t max_attempts;
    uint32_t core_files;
    uint32_t initial_delay_ms;
    uint32_t max_delay_ms;
    uint32_t max_crashes; /* 0: never quarantined */
    uint32_t window_ms;
} ss_spec;

/* What is known of a worker. Texts are valid until the next call for the same worker. */
typedef struct ss_worker_info {
    uint32_t state;
    uint32_t refusal;     /* SS_REFUSED_* of the generation that was asked for last */
    int32_t status;       /* of its on_load */
    uint32_t flags;
    uint64_t kinds;
    uint64_t changes;     /* changes whenever anything here does */
    int64_t since_ns;     /* of the state; since 1970 */
    uint32_t restarts;
    uint32_t generation;  /* counts those that ran */
    int32_t pid;          /* 0 while there is none */
    uint32_t next_opened; /* a prepared generation waits for ss_worker_switch */
    uint32_t next_flags;  /* of that generation; `flags` are of the one that runs, or ran */
    uint32_t busy;        /* a load, reload or unload is under way */
    uint32_t reports;     /* crash reports that wait to be taken */
    uint64_t dead_letters;
    const char *name;
    const char *version;
    const char *reason;   /* of the state */
    const char *text;     /* what went wrong with it: a refusal, the plugin's own error */
    const char *hint;
} ss_worker_info;

#define SS_REPORT_REGISTERS 32
#define SS_REPORT_LINES 20

/* What is known of a crash. */
typedef struct ss_report {
    int64_t time_ns;
    int32_t pid;
    int32_t signal;      /* 0: it ended by itself */
    int32_t exit_code;   /* -1: unknown */
    int32_t code;        /* si_code */
    uint64_t address;
    uint64_t pc;
    uint64_t sp;
    uint64_t module_start;
    uint64_t module_offset;
    uint64_t ordinal;    /* in flight; 0: none */
    uint64_t run;        /* events in flight */
    uint64_t acknowledged;
    uint64_t uptime_ms;
    uint32_t in_flush;   /* they were delivered before; it was flushing them */
    uint32_t reserved;
    uint32_t has_fault;  /* the signal's details are known */
    uint32_t registers;
    uint64_t values[SS_REPORT_REGISTERS];
    uint8_t frame_head[48]; /* of the event in flight */
    char module[256];    /* the file that holds pc */
    char build_id[129];  /* of the module, in hexadecimal; "" if it has none */
    char reason[256];    /* in a sentence */
    char lines[SS_REPORT_LINES][256]; /* the last log lines, oldest first; "" unused */
} ss_report;

/* `program` is slipstream-worker. NULL when there is no thread to be had. */
ss_supervisor *ss_supervisor_new(ss_logq *log, const char *program);
/* Kills what still runs and ends the thread. */
void ss_supervisor_free(ss_supervisor *self);

/* A worker behind a port; nothing runs yet. Events that fail for good are written to the
 * descriptor `dead_letter`, -1: nowhere; it is not closed. */
ss_worker *ss_worker_new(ss_supervisor *self, ss_port *port, int dead_letter);
/* Opens, checks and constructs a generation, beside the one that runs if there is one.
 * OK: under way; look at next_opened, refusal and state. */
int32_t ss_worker_prepare(ss_worker *worker, const ss_spec *spec);
/* Lets the prepared one take over, with this config: `overlap` loads it before the old one
 * is stopped. Without an old one it is simply loaded and run. */
int32_t ss_worker_switch(ss_worker *worker, uint32_t reason, uint32_t overlap, const char *config,
                         size_t len);
/* Gives the prepared one up. */
int32_t ss_worker_cancel(ss_worker *worker);
/* Drains to the last event that was broadcast, flushes, unloads and ends it. */
int32_t ss_worker_stop(ss_worker *worker, uint32_t timeout_ms);
/* Leaves quarantine or back-off at once. */
int32_t ss_worker_resume(ss_worker *worker);
/* Waits until `changes` is another number than this; OK or TIMEOUT. */
int32_t ss_worker_wait(ss_worker *worker, uint64_t changes, uint32_t ms);
void ss_worker_describe(ss_worker *worker, ss_worker_info *out);
/* The payload name number `index` that it claims; NULL ends the list. */
const char *ss_worker_claim(ss_worker *worker, uint32_t index);
int32_t ss_worker_metric(ss_worker *worker, uint32_t index, ss_metric *out);
/* Takes the oldest crash report; NOT_FOUND if there is none. */
int32_t ss_worker_take_report(ss_worker *worker, ss_report *out);
/* Kills what still runs, and frees it. */
void ss_worker_free(ss_worker *worker);
/* cdef:end */

#endif
