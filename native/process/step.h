/* step: what is decided about a supervised plugin. From where it stands and what happens follow
 * where it stands then and what is to be done; nothing else goes in, nothing else comes out.
 * What asks and what does is around it: supervisor, messages, watchdog, actions. */
#ifndef SS_STEP_H
#define SS_STEP_H

#include "process/blame.h"

/* What it is to come to, beside running. */
enum ss_plan {
    SS_PLAN_NONE,
    SS_PLAN_START,  /* the next generation is loaded and run; nobody has asked for it */
    SS_PLAN_RELOAD, /* the next generation takes over from the current one, if there is one */
    SS_PLAN_STOP,
};

/* Of a generation: those up to LOADED are of the next one, the others of the current one. */
enum ss_phase {
    SS_PHASE_NONE, /* there is none */
    SS_PHASE_OPENING,
    SS_PHASE_OPENED,
    SS_PHASE_LOADING,
    SS_PHASE_LOADED,
    SS_PHASE_RUNNING,
    SS_PHASE_DRAINING,
    SS_PHASE_UNLOADING,
    SS_PHASE_EXITING,
};

typedef struct ss_standing {
    uint32_t state; /* SS_SUPERVISED_* */
    enum ss_plan plan;
    enum ss_phase current;
    enum ss_phase next;
    bool has_run;      /* a generation of it has */
    bool hurried;      /* while draining: told to stop after the call under way */
    bool prepared;     /* the next generation was asked for */
    bool switching;    /* and so was the switch to it */
    bool overlap;      /* it is loaded before the current one is stopped */
    bool handing_over; /* the current one ends for the next one */
    bool cancelled;
    bool dying;
    bool gone;
    uint32_t load_reason;
    uint64_t restart_at_ns; /* 0: never */
    ss_blame blame;
} ss_standing;

enum ss_event_type {
    /* Asked for, by any thread. */
    SS_ASKED_PREPARE,
    SS_ASKED_SWITCH, /* number: the reason for loading; overlap */
    SS_ASKED_CANCEL,
    SS_ASKED_STOP,
    SS_ASKED_RESUME,
    SS_ASKED_FREE,
    SS_TICK, /* what is due? Again until nothing is */
    SS_NOT_SPAWNED,
    /* A generation says so. */
    SS_SAID_OPENED,
    SS_SAID_REFUSED,
    SS_SAID_LOADED,
    SS_SAID_ENDED, /* number: SS_CONSUMED_* */
    SS_SAID_UNLOADED,
    SS_SAID_NONSENSE,
    /* It is late, or its process has ended. */
    SS_IS_LATE,
    SS_HAS_ENDED,
    SS_EVENT_TYPES,
};

typedef struct ss_event {
    enum ss_event_type type;
    bool of_next; /* else of the current generation */
    bool overlap;
    bool clean; /* SS_HAS_ENDED: by itself and without an error */
    uint32_t number;
    const char *why;     /* SS_HAS_ENDED: in a sentence */
    const char *problem; /* of the next generation: why it cannot be started again */
    ss_in_flight in_flight;
    const ss_spec *spec; /* of the version that serves */
    uint64_t now_ns;
    uint64_t random;
    /* Not looked at here, for who acts: what was said, what is known of the end, and what to
     * answer who asked. */
    const struct ss_message *head;
    const char *data;
    const struct ss_report *report;
    uint32_t refusal;
    int32_t status;
    const char *text;
    const char *hint;
} ss_event;

enum ss_action_type {
    SS_DO_SPAWN_PREPARED,
    SS_DO_SPAWN_AGAIN, /* from the spec of the version that serves; always the last action */
    SS_DO_KEEP,   /* what the next generation said of itself */
    SS_DO_LOAD,
    SS_DO_RUN,    /* the next generation becomes the current one. number: flush after each event */
    SS_DO_DRAIN,
    SS_DO_HURRY,
    SS_DO_UNLOAD,
    SS_DO_EXIT,
    SS_DO_KILL_CURRENT, /* text: why */
    SS_DO_KILL_NEXT,
    SS_DO_DROP_CURRENT,
    SS_DO_DROP_NEXT,
    SS_DO_EXPECT,     /* something is asked for: nothing went wrong with it yet */
    SS_DO_REFUSE,     /* it does not come about: the event says why */
    SS_DO_REPORT,     /* keep what is known of the crash */
    SS_DO_SKIP,       /* number: the event that is a dead letter */
    SS_DO_LOG,        /* text: an error */
    SS_DO_SHOW,       /* the state has changed. text: why; NULL: what was refused */
    SS_DO_QUARANTINE, /* the same. number: of crashes; text: the last one */
    SS_ACTION_TYPES,
};

typedef struct ss_action {
    enum ss_action_type type;
    const char *text;
    uint64_t number;
} ss_action;

enum { SS_ACTIONS_MAX = 6 };

typedef struct ss_decision {
    bool accepted; /* what was asked for */
    bool acted;    /* SS_TICK: something was due */
    uint32_t count;
    ss_action actions[SS_ACTIONS_MAX];
} ss_decision;

ss_decision ss_decide(ss_standing *at, const ss_event *event);

/* An opened generation waits for SS_ASKED_SWITCH. */
static inline bool ss_is_opened(const ss_standing *at) {
    return at->plan == SS_PLAN_RELOAD && at->next == SS_PHASE_OPENED && !at->switching &&
           !at->handing_over;
}

/* What is said of a generation that is late in this phase. */
const char *ss_late_text(enum ss_phase phase);

#endif
