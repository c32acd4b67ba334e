/* supervised: a plugin in process mode, which outlives its generations, and the supervisor:
 * what both are made of, for the files that make them. All of it runs under the supervisor's
 * lock; what is not said to be otherwise, on its thread. */
#ifndef SS_SUPERVISED_H
#define SS_SUPERVISED_H

#include "base/clock.h"
#include "process/generation.h"
#include "process/supervisor.h"

#include <pthread.h>

enum {
    REPORTS_MAX = 16,
    CRASHES_MAX = 128, /* remembered for the window */
    METRICS_MAX = 128,
    POISON_CRASHES = 3, /* so many on one event, and it is a dead letter */
};

#define MS UINT64_C(1000000)

/* What a worker is to do next, beside running. */
enum plan {
    PLAN_NONE,
    PLAN_START,  /* the next process is loaded and run */
    PLAN_RELOAD, /* the next process takes over from the current one */
    PLAN_STOP,
};

typedef struct metric {
    char name[SLIPSTREAM_NAME_MAX + 1];
    char label[2 * SLIPSTREAM_NAME_MAX + 2];
    uint32_t is_gauge;
    uint64_t bits;
} metric;

struct ss_supervised {
    ss_supervisor *supervisor;
    ss_supervised *next_supervised;
    ss_queue *queue;
    int dead_letter;
    ss_kept_spec *spec; /* of the version that serves, or served last */
    ss_kept_spec *prepared; /* asked for: to be opened */
    ss_generation *current;
    ss_generation *next;
    enum plan plan;
    bool overlap;
    bool switching;   /* the switch was asked for */
    bool handing_over; /* the one that served was told to end, for the next one */
    bool dying;
    bool gone;
    bool cancelled;
    uint32_t load_reason;
    uint32_t stop_timeout_ms;
    uint64_t restart_at_ns;
    /* Crashes. */
    uint64_t crash_ns[CRASHES_MAX];
    uint32_t crashes;
    uint32_t failed_starts;
    uint64_t poison;
    uint32_t poison_crashes;
    uint32_t flush_crashes; /* in flush, with events up to flush_until */
    uint64_t flush_until;
    ss_report *reports[REPORTS_MAX];
    uint32_t report_count;
    metric metrics[METRICS_MAX];
    uint32_t metric_count;
    ss_supervised_info info;
    char name[SLIPSTREAM_NAME_MAX + 1];
    char version[SLIPSTREAM_NAME_MAX + 1];
    char reason[512];
    char start_problem[512];
    char text[SS_MESSAGE_MAX];
    char hint[1024];
    char *claims;
    size_t claims_len;
    /* Copies that describe gives out. */
    char shown[5][SS_MESSAGE_MAX];
};

struct ss_supervisor {
    ss_log_queue *log;
    char *program;
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    int kick;
    bool stopping;
    uint64_t last_tick_ns;
    ss_supervised *supervised;
};

static inline uint64_t now_ns(void) {
    return ss_clock_ns(CLOCK_MONOTONIC);
}

/* In state.c: what is known of a worker. */
void ss_supervised_note_change(ss_supervised *w);
void ss_supervised_set_state(ss_supervised *w, uint32_t state, const char *reason);
void ss_supervised_set_plan(ss_supervised *w, enum plan plan);
/* Something is asked for: nothing went wrong with it yet. */
void ss_supervised_expect(ss_supervised *w);
/* What was asked for does not come about; the first reason counts. A start that nobody asked
 * for, after a crash, says nothing about that: whoever asked may not have looked yet. */
void ss_supervised_refuse(ss_supervised *w, uint32_t refusal, const char *text, const char *hint);
uint32_t ss_supervised_log_id(const ss_supervised *w);
void ss_supervised_log(ss_supervised *w, uint32_t level, const char *text);

/* In crashes.c: whom a crash is blamed on, its report, and when to start again. */
void ss_supervised_keep_report(ss_supervised *w, const ss_report *report);
void ss_supervised_on_crash(ss_supervised *w, ss_generation *p, ss_report *report);
void ss_supervised_schedule_restart(ss_supervised *w, const char *why);

/* In plans.c: starting, stopping, handing over. */
void ss_supervised_run_next(ss_supervised *w);
/* Lets the current process drain to the last event that was broadcast, and end. What is held
 * back by a pause is delivered before an unload, and left to the next one at a reload. */
void ss_supervised_drain(ss_supervised *w, uint32_t timeout_ms);
/* It shall end after the call that is under way; the rest stays in the ring. */
void ss_supervised_hurry(ss_supervised *w);
void ss_supervised_say_unload(ss_supervised *w, ss_generation *p);
void ss_supervised_say_exit(ss_supervised *w, ss_generation *p);
/* The next process will not serve; its text says why. */
void ss_supervised_next_failed(ss_supervised *w);
/* A process has ended, and is freed. */
void ss_supervised_on_end(ss_supervised *w, ss_generation *p, ss_report *report);
/* What was asked for from outside, and what is due. */
void ss_supervised_serve_requests(ss_supervised *w, uint64_t now);

/* In messages.c: what a worker tells. False when the process was freed. */
bool ss_supervised_on_message(ss_supervised *w, ss_generation *p, const ss_message *head,
                              const char *data);

/* In watchdog.c: is it late, or does it write nonsense? `punctual`: so are we. */
void ss_supervised_watch(ss_supervised *w, ss_generation *p, uint64_t now, bool punctual);
void ss_supervised_miss_deadline(ss_supervised *w, ss_generation *p);

#endif
