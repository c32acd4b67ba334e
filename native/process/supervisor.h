/* supervisor: starts, watches, restarts and replaces the workers of one manager, on one
 * native thread that never takes an interpreter lock. Only that thread spawns them, since
 * a worker dies with the thread that spawned it.
 *
 * Between the marks stand only declarations; the build parses them. */
#ifndef SS_SUPERVISOR_H
#define SS_SUPERVISOR_H

#include "base/log_queue.h"
#include "frame/dead_letter.h"
#include "plugin/instance.h"
#include "process/report.h"
#include "process/spec.h"
#include "ring/queue.h"

/* cdef:begin */
#define SS_SUPERVISED_LOADING 0
#define SS_SUPERVISED_RUNNING 1
#define SS_SUPERVISED_BACKOFF 2
#define SS_SUPERVISED_QUARANTINED 3
#define SS_SUPERVISED_UNLOADING 4
#define SS_SUPERVISED_FAILED 5
#define SS_SUPERVISED_UNLOADED 6

typedef struct ss_supervisor ss_supervisor;
typedef struct ss_supervised ss_supervised;

/* What is known of a worker: a copy, which nothing changes later. */
typedef struct ss_supervised_info {
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
    uint32_t next_opened; /* a prepared generation waits for ss_supervised_switch */
    uint32_t next_flags;  /* of that generation; `flags` are of the one that runs, or ran */
    uint32_t next_min_host_minor;
    uint32_t busy;        /* a load, reload or unload is under way */
    uint32_t reports;     /* crash reports that wait to be taken */
    uint64_t dead_letters;
    char name[SLIPSTREAM_NAME_MAX + 1];
    char version[SLIPSTREAM_NAME_MAX + 1];
    char hint[1024];
    char reason[2 * SLIPSTREAM_ERROR_MAX + 64]; /* of the state: the plugin's text, and who says it */
    char text[16 * SLIPSTREAM_ERROR_MAX + 64];  /* what went wrong with it: a refusal, the plugin's
                                                 * own error */
} ss_supervised_info;

/* `program` is slipstream-worker. NULL when there is no thread to be had. */
ss_supervisor *ss_supervisor_new(ss_log_queue *log, const char *program);
/* Kills what still runs and ends the thread. */
void ss_supervisor_free(ss_supervisor *self);

/* Grows at least once a second as long as the thread makes headway. */
uint64_t ss_supervisor_beats(const ss_supervisor *self);

/* A worker behind a queue; nothing runs yet. What it refuses for good goes to `letters`. */
ss_supervised *ss_supervised_new(ss_supervisor *self, ss_queue *queue, ss_letters *letters);
/* Opens, checks and constructs a generation, beside the one that runs if there is one.
 * OK: under way; look at next_opened, refusal and state. */
int32_t ss_supervised_prepare(ss_supervised *supervised, const ss_spec *spec);
/* Lets the prepared one take over, with this folder ("": none) and this config: `overlap` loads
 * it before the old one is stopped. Without an old one it is simply loaded and run. */
int32_t ss_supervised_switch(ss_supervised *supervised, uint32_t reason, uint32_t overlap,
                             const char *data_dir, const char *config, size_t len);
/* Gives the prepared one up. */
int32_t ss_supervised_cancel(ss_supervised *supervised);
/* Drains to the last event that was broadcast, flushes, unloads and ends it. */
int32_t ss_supervised_stop(ss_supervised *supervised, uint32_t timeout_ms);
/* Leaves quarantine or back-off at once. */
int32_t ss_supervised_resume(ss_supervised *supervised);
/* Waits until `changes` is another number than this; OK or TIMEOUT. */
int32_t ss_supervised_wait(ss_supervised *supervised, uint64_t changes, uint32_t ms);
void ss_supervised_describe(ss_supervised *supervised, ss_supervised_info *out);
/* The payload name number `index` that it claims; false ends the list. */
bool ss_supervised_claim(ss_supervised *supervised, uint32_t index, char *out, size_t room);
int32_t ss_supervised_metric(ss_supervised *supervised, uint32_t index, ss_metric *out);
/* Takes the oldest crash report; NOT_FOUND if there is none. */
int32_t ss_supervised_take_report(ss_supervised *supervised, ss_report *out);
/* Kills what still runs, and frees it. */
void ss_supervised_free(ss_supervised *supervised);
/* cdef:end */

#endif
