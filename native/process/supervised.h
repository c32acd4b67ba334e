/* supervised: a plugin in process mode, which outlives its generations, and the supervisor:
 * what both are made of, for the files that make them. All of it runs under the supervisor's
 * lock; what is not said to be otherwise, on its thread. */
#ifndef SS_SUPERVISED_H
#define SS_SUPERVISED_H

#include "base/clock.h"
#include "process/generation.h"
#include "process/step.h"
#include "process/supervisor.h"
#include "ring/refusals.h"

enum {
    REPORTS_MAX = 16,
    METRICS_MAX = 128,
    PROBLEM_ROOM = sizeof((ss_supervised_info *)NULL)->reason,
};

_Static_assert(sizeof((ss_supervised_info *)NULL)->text == SS_MESSAGE_MAX, "what a worker says");

#define MS UINT64_C(1000000)

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
    ss_refusals refusals;
    ss_kept_spec *spec; /* of the version that serves, or served last */
    ss_kept_spec *prepared; /* asked for: to be opened */
    ss_generation *current;
    ss_generation *next;
    ss_standing at;
    bool has_stop_timeout;
    uint32_t stop_timeout_ms;
    ss_report *reports[REPORTS_MAX];
    uint32_t report_count;
    metric metrics[METRICS_MAX];
    uint32_t metric_count;
    ss_supervised_info info;
    char last_end[256]; /* how the current generation before this one ended */
    char unload_problem[PROBLEM_ROOM]; /* what on_unload returned last; "" */
    char *claims;
    size_t claims_len;
};

struct ss_supervisor {
    ss_log_queue *log;
    char *program;
    ss_os_thread thread;
    ss_os_mutex lock;
    ss_os_condition changed;
    int kick;
    bool stopping;
    uint64_t last_tick_ns;
    _Atomic uint64_t beats; /* grows with each round */
    uint64_t random;
    ss_supervised *supervised;
    char message[SS_MESSAGE_ROOM]; /* [its thread]: the one that is being looked at */
};

static inline uint64_t now_ns(void) {
    return ss_os_now_ns();
}

/* In actions.c: decides about an event, and does what follows. Time, a random number and the
 * spec are filled in. */
ss_decision ss_supervised_step(ss_supervised *w, ss_event event);
/* The same for one after which the next generation will not serve: why. */
void ss_supervised_fail_next(ss_supervised *w, ss_event event, const char *text, const char *hint);

/* In state.c: what is known of a worker. */
void ss_supervised_note_change(ss_supervised *w);
/* It has another state. */
void ss_supervised_show(ss_supervised *w, const char *reason);
/* Something is asked for: nothing went wrong with it yet. */
void ss_supervised_expect(ss_supervised *w);
/* What was asked for does not come about; the first reason counts. */
void ss_supervised_refuse(ss_supervised *w, const ss_event *event);
uint32_t ss_supervised_log_id(const ss_supervised *w);
void ss_supervised_log(ss_supervised *w, uint32_t level, const char *text);
/* What the next generation has said of itself is taken over. */
void ss_supervised_keep(ss_supervised *w, const ss_event *event);

/* In crashes.c: what was in flight; then what follows from it. */
ss_in_flight ss_supervised_find_in_flight(ss_supervised *w, const ss_generation *p,
                                          ss_report *report);
void ss_supervised_keep_report(ss_supervised *w, const ss_report *report);
void ss_supervised_skip(ss_supervised *w, uint64_t ordinal);

/* In messages.c: what a worker tells. False when the process was freed. */
bool ss_supervised_on_message(ss_supervised *w, ss_generation *p, const ss_message *head,
                              const char *data);

/* In watchdog.c: is it late, or does it write nonsense? `punctual`: so are we. */
void ss_supervised_watch(ss_supervised *w, ss_generation *p, uint64_t now, bool punctual);
void ss_supervised_miss_deadline(ss_supervised *w, ss_generation *p);

#endif
