/* What is decided about a supervised plugin, as a table: for every standing that can be reached
 * and everything that can happen there, one row says what follows. */
#include "check.h"
#include "consumer/consume.h"
#include "process/step.h"
#include "process/supervisor.h"

#include <stdbool.h>
#include <string.h>

/* ---- What can happen ------------------------------------------------------------------- */

enum {
    PREPARE, SWITCH, OVERLAP, CANCEL, STOP, RESUME, FREE, TICK,
    NOT_SPAWNED, OPENED, REFUSED, REFUSED_AGAIN, LOADED, NEXT_NONSENSE, NEXT_LATE, NEXT_ENDED,
    BOUNDARY, FATAL, PANIC, DAMAGED, UNLOADED, NONSENSE, LATE, ENDED, CRASHED, CRASHED_AGAIN,
    NEXT_BOUNDARY, NEXT_UNLOADED, NOT_NEXT_OPENED, NOT_NEXT_LOADED,
    HAPPENINGS
};

/* Without a limit of crashes, and with one that the first reaches. */
static const ss_spec patient = {.initial_delay_ms = 100, .max_delay_ms = 1000, .window_ms = 1000};
static const ss_spec strict = {
    .initial_delay_ms = 100, .max_delay_ms = 1000, .window_ms = 1000, .max_crashes = 1};

#define NEXT .of_next = true
static const ss_event happenings[HAPPENINGS] = {
    [PREPARE] = {SS_ASKED_PREPARE},
    [SWITCH] = {SS_ASKED_SWITCH, .number = 7},
    [OVERLAP] = {SS_ASKED_SWITCH, .number = 7, .overlap = true},
    [CANCEL] = {SS_ASKED_CANCEL},
    [STOP] = {SS_ASKED_STOP},
    [RESUME] = {SS_ASKED_RESUME},
    [FREE] = {SS_ASKED_FREE},
    [TICK] = {SS_TICK},
    [NOT_SPAWNED] = {SS_NOT_SPAWNED, NEXT},
    [OPENED] = {SS_SAID_OPENED, NEXT},
    [REFUSED] = {SS_SAID_REFUSED, NEXT},
    [REFUSED_AGAIN] = {SS_SAID_REFUSED, NEXT, .spec = &strict},
    [LOADED] = {SS_SAID_LOADED, NEXT},
    [NEXT_NONSENSE] = {SS_SAID_NONSENSE, NEXT},
    [NEXT_LATE] = {SS_IS_LATE, NEXT},
    [NEXT_ENDED] = {SS_HAS_ENDED, NEXT},
    [BOUNDARY] = {SS_SAID_ENDED, .number = SS_CONSUMED_BOUNDARY},
    [FATAL] = {SS_SAID_ENDED, .number = SS_CONSUMED_FATAL},
    [PANIC] = {SS_SAID_ENDED, .number = SS_CONSUMED_PANIC},
    [DAMAGED] = {SS_SAID_ENDED, .number = SS_CONSUMED_DAMAGED},
    [UNLOADED] = {SS_SAID_UNLOADED},
    [NONSENSE] = {SS_SAID_NONSENSE},
    [LATE] = {SS_IS_LATE},
    [ENDED] = {SS_HAS_ENDED, .clean = true},
    [CRASHED] = {SS_HAS_ENDED},
    [CRASHED_AGAIN] = {SS_HAS_ENDED, .spec = &strict},
    [NEXT_BOUNDARY] = {SS_SAID_ENDED, NEXT, .number = SS_CONSUMED_BOUNDARY},
    [NEXT_UNLOADED] = {SS_SAID_UNLOADED, NEXT},
    [NOT_NEXT_OPENED] = {SS_SAID_OPENED},
    [NOT_NEXT_LOADED] = {SS_SAID_LOADED},
};

/* ---- Where it can stand ---------------------------------------------------------------- */

enum { NONE, START, RELOAD, STOPPING }; /* plans */
enum { NOBODY, OPENING, OPEN, LOADING, READY, RUNNING, DRAINING, UNLOADING, EXITING }; /* phases */
enum { S_LOADING, S_RUNNING, S_BACKOFF, S_QUARANTINED, S_UNLOADING, S_FAILED, S_UNLOADED };
enum {
    RAN = 1, HURRIED = 2, PREPARED = 4, SWITCHING = 8, OVERLAPS = 16, HANDING = 32,
    CANCELLED = 64, DYING = 128, GONE = 256, TIMED = 512,
};
enum { STANDINGS = 7 * 4 * 9 * 5 << 10 };

typedef struct standing {
    uint32_t plan, current, next, state, flags;
} standing;

static ss_standing make(standing s) {
    return (ss_standing){
        .state = s.state,
        .plan = (enum ss_plan)s.plan,
        .current = (enum ss_phase)s.current,
        .next = (enum ss_phase)s.next,
        .has_run = (s.flags & RAN) != 0,
        .hurried = (s.flags & HURRIED) != 0,
        .prepared = (s.flags & PREPARED) != 0,
        .switching = (s.flags & SWITCHING) != 0,
        .overlap = (s.flags & OVERLAPS) != 0,
        .handing_over = (s.flags & HANDING) != 0,
        .cancelled = (s.flags & CANCELLED) != 0,
        .dying = (s.flags & DYING) != 0,
        .gone = (s.flags & GONE) != 0,
        .restart_at_ns = (s.flags & TIMED) != 0,
    };
}

static standing read_back(const ss_standing *at) {
    const bool set[] = {at->has_run,      at->hurried,   at->prepared, at->switching, at->overlap,
                        at->handing_over, at->cancelled, at->dying,    at->gone,
                        at->restart_at_ns != 0};
    standing s = {at->plan, at->current, at->next, at->state, 0};
    for (uint32_t i = 0; i < sizeof set / sizeof set[0]; i++)
        s.flags |= (uint32_t)set[i] << i;
    return s;
}

static uint32_t number_of(standing s) {
    return (((s.state * 4 + s.plan) * 9 + s.current) * 5 + s.next) << 10 | s.flags;
}

/* ---- The table --------------------------------------------------------------------------- */

#define ANY UINT32_MAX
#define B(bit) (UINT32_C(1) << (bit))
#define BUT(bit) ~B(bit)
enum { SAME = 99 };

#define FAILING (B(NOT_SPAWNED) | B(REFUSED) | B(REFUSED_AGAIN) | B(NEXT_ENDED))
#define ENDING (B(ENDED) | B(CRASHED) | B(CRASHED_AGAIN))
#define STRANGE (B(NEXT_BOUNDARY) | B(NEXT_UNLOADED) | B(NOT_NEXT_OPENED) | B(NOT_NEXT_LOADED))
#define GO_ON (HANDING | SWITCHING)

/* The first row that fits counts. Actions in order; `report?`: if it has crashed; `=`: with
 * this text; `-`: it is refused. */
typedef struct row {
    uint32_t happens, plans, currents, nexts, states, set, clear;
    uint32_t plan, current, next, state, sets, clears;
    const char *actions;
} row;

/* clang-format off */
static const row table[] = {
/*  happens          plan         current        next         state           set         clear
        -> plan      current      next           state        sets            clears      actions */
    /* Asked for. */
    {B(PREPARE),     B(NONE),     ANY,           ANY,         ANY,            0,          0,
        RELOAD,      SAME,        SAME,          SAME,        PREPARED,       0,          "expect"},
    {B(PREPARE),     ANY,         ANY,           ANY,         ANY,            0,          0,
        SAME,        SAME,        SAME,          SAME,        0,              0,          "-"},
    {B(SWITCH),      B(RELOAD),   ANY,           B(OPEN),     ANY,            0,          GO_ON,
        SAME,        SAME,        SAME,          SAME,        SWITCHING,      OVERLAPS,   ""},
    {B(OVERLAP),     B(RELOAD),   ANY,           B(OPEN),     ANY,            0,          GO_ON,
        SAME,        SAME,        SAME,          SAME,        SWITCHING | OVERLAPS, 0,    ""},
    {B(SWITCH) | B(OVERLAP), ANY, ANY,           ANY,         ANY,            0,          0,
        SAME,        SAME,        SAME,          SAME,        0,              0,          "-"},
    {B(CANCEL),      ANY,         ANY,           ANY,         ANY,            0,          0,
        SAME,        SAME,        SAME,          SAME,        CANCELLED,      0,          ""},
    {B(STOP),        ANY,         ANY,           ANY,         B(S_FAILED),    0,          0,
        STOPPING,    SAME,        SAME,          SAME,        0,   GO_ON | PREPARED,      ""},
    {B(STOP),        ANY,         ANY,           ANY,         ANY,            0,          0,
        STOPPING,    SAME,        SAME,          S_UNLOADING, 0,   GO_ON | PREPARED, "show="},
    {B(RESUME),      ANY,         ANY,           ANY, B(S_BACKOFF) | B(S_QUARANTINED), 0, 0,
        SAME,        SAME,        SAME,          S_BACKOFF,   TIMED,          0,  "show=resumed"},
    {B(RESUME),      ANY,         ANY,           ANY,         ANY,            0,          0,
        SAME,        SAME,        SAME,          SAME,        0,              0,          ""},
    {B(FREE),        ANY,         ANY,           ANY,         ANY,            0,          0,
        SAME,        SAME,        SAME,          SAME,        DYING,          0,          ""},

    /* What is due, the first thing first. */
    {B(TICK),        ANY,         B(NOBODY),     B(NOBODY),   ANY,            DYING,      0,
        SAME,        SAME,        SAME,          SAME,        GONE,           0,          ""},
    {B(TICK),        ANY,         ANY,           B(NOBODY),   ANY,            DYING,      0,
        SAME,        NOBODY,      SAME,          SAME,        GONE,           0, "drop_current"},
    {B(TICK),        ANY,         B(NOBODY),     ANY,         ANY,            DYING,      0,
        SAME,        SAME,        NOBODY,        SAME,        GONE,           0,  "drop_next"},
    {B(TICK),        ANY,         ANY,           ANY,         ANY,            DYING,      0,
        SAME,        NOBODY,      NOBODY,        SAME,        GONE,           0,
        "drop_next;drop_current"},
    {B(TICK),        ANY,         ANY,           ANY,         ANY,            PREPARED,   0,
        SAME,        SAME,        OPENING,       SAME,        0,              PREPARED,
        "spawn_prepared"},
    {B(TICK),        B(RELOAD),   ANY,   B(OPENING) | B(OPEN), ANY,           CANCELLED,  0,
        NONE,        SAME,        NOBODY,        SAME,        0,  CANCELLED | GO_ON, "drop_next"},
    {B(TICK),        ANY,         ANY,           ANY,         ANY,            CANCELLED,  0,
        SAME,        SAME,        SAME,          SAME,        0,              CANCELLED,  ""},
    {B(TICK),        ANY,         B(NOBODY),     ANY,         ANY,            SWITCHING,  0,
        SAME,        SAME,        LOADING,       SAME,        0,              SWITCHING,  "load"},
    {B(TICK),        ANY,         ANY,           ANY,         ANY, SWITCHING | OVERLAPS,  0,
        SAME,        SAME,        LOADING,       SAME,        0,              SWITCHING,  "load"},
    {B(TICK),        ANY,         B(RUNNING),    ANY,         ANY,            SWITCHING,  0,
        SAME,        DRAINING,    SAME,          SAME,        HANDING, SWITCHING | HURRIED, "drain"},
    {B(TICK),        ANY,         ANY,           ANY,         ANY,            SWITCHING,  0,
        SAME,        SAME,        SAME,          SAME,        HANDING,        SWITCHING,  ""},
    {B(TICK),        B(STOPPING), ANY,           BUT(NOBODY), ANY,            0,          0,
        SAME,        SAME,        NOBODY,        SAME,        0,              TIMED, "drop_next"},
    {B(TICK),        B(STOPPING), B(NOBODY),     ANY,         ANY,            0,          0,
        NONE,        SAME,        SAME,          S_UNLOADED,  0,              TIMED,      "show="},
    {B(TICK),        B(STOPPING), B(RUNNING),    ANY,         ANY,            0,          0,
        SAME,        DRAINING,    SAME,          SAME,        0,        TIMED | HURRIED,  "drain"},
    {B(TICK),        B(STOPPING), ANY,           ANY,         ANY,            0,          0,
        SAME,        SAME,        SAME,          SAME,        0,              TIMED,      ""},
    {B(TICK),        B(NONE),     ANY,           ANY,         B(S_BACKOFF),   TIMED,      0,
        START,       SAME,        OPENING,       S_LOADING,   0,              TIMED,
        "show=restarting after a crash;spawn_again"},
    {B(TICK),        ANY,         ANY,           ANY,         ANY,            0,          0,
        SAME,        SAME,        SAME,          SAME,        0,              0,          ""},

    /* The next generation comes up. */
    {B(OPENED),      B(START),    ANY,           B(OPENING),  ANY,            0,          0,
        SAME,        SAME,        LOADING,       SAME,        0,              0, "keep;load"},
    {B(OPENED),      B(RELOAD),   ANY,           B(OPENING),  ANY,            0,          0,
        SAME,        SAME,        OPEN,          SAME,        0,              0,          "keep"},
    {B(OPENED),      ANY,         ANY,           ANY,         ANY,            0,          0,
        SAME,        SAME,        SAME,          SAME,        0,              0,          ""},
    {B(LOADED), B(START) | B(RELOAD), B(NOBODY), B(LOADING),  ANY,            0,          0,
        NONE,        RUNNING,     NOBODY,        S_RUNNING,   RAN,        TIMED | GO_ON,
        "keep;run;show="},
    {B(LOADED),      B(RELOAD),   B(RUNNING),    B(LOADING),  ANY,            0,          0,
        SAME,        DRAINING,    READY,         SAME,        HANDING,        HURRIED,
        "keep;drain"},
    {B(LOADED),      B(RELOAD),   ANY,           B(LOADING),  ANY,            0,          0,
        SAME,        SAME,        READY,         SAME,        HANDING,        0,          "keep"},
    {B(LOADED),      ANY,         ANY,           ANY,         ANY,            0,          0,
        SAME,        SAME,        SAME,          SAME,        0,              0,          ""},

    /* Or it does not. */
    {FAILING,        ANY,         ANY,           B(NOBODY),   ANY,            0,          0,
        SAME,        SAME,        SAME,          SAME,        0,              0,          ""},
    {FAILING,        B(RELOAD),   B(NOBODY),     ANY,         ANY,            HANDING,    0,
        START,       SAME,        OPENING,       SAME,        0,              GO_ON,
        "refuse;report?;drop_next;"
        "log=the new version did not start; the old one is started again;spawn_again"},
    {B(REFUSED_AGAIN), B(START),  ANY,           ANY,         ANY,            0,          0,
        NONE,        SAME,        NOBODY, S_QUARANTINED,      0,              TIMED,
        "drop_next;log=problem;quarantine=problem"},
    {FAILING,        B(START),    ANY,           ANY,         ANY,            0,          0,
        NONE,        SAME,        NOBODY,        S_BACKOFF,   TIMED,          0,
        "report?;drop_next;log=problem;show=problem"},
    {FAILING,        B(RELOAD),   ANY,           ANY,         ANY,            0,          RAN,
        NONE,        SAME,        NOBODY,        S_FAILED,    0,              GO_ON,
        "refuse;report?;drop_next;show"},
    {FAILING,        B(RELOAD),   ANY,           ANY,         ANY,            0,          0,
        NONE,        SAME,        NOBODY,        SAME,        0,              GO_ON,
        "refuse;report?;drop_next"},
    {FAILING,        B(STOPPING), ANY,           ANY,         ANY,            0,          0,
        SAME,        SAME,        NOBODY,        SAME,        0,              0,
        "refuse;report?;drop_next"},
    {B(NEXT_LATE) | B(NEXT_NONSENSE), ANY, ANY,  B(NOBODY),   ANY,            0,          0,
        SAME,        SAME,        SAME,          SAME,        0,              0,          ""},
    {B(NEXT_NONSENSE), ANY,       ANY,           ANY,         ANY,            0,          0,
        SAME,        SAME,        SAME,          SAME,        0,              0,
        "kill_next=it sent a message that makes no sense"},
    {B(NEXT_LATE),   B(START),    ANY,           B(LOADING),  ANY,            0,          0,
        SAME,        SAME,        SAME,          SAME,        0,              0,
        "kill_next=on_load did not return within load_timeout"},
    {B(NEXT_LATE),   ANY,         ANY,           B(LOADING),  ANY,            0,          0,
        SAME,        SAME,        SAME,          SAME,        0,              0,
        "refuse;kill_next=on_load did not return within load_timeout"},
    {B(NEXT_LATE),   B(START),    ANY,           B(OPENING),  ANY,            0,          0,
        SAME,        SAME,        SAME,          SAME,        0,              0,
        "kill_next=opening and constructing did not return within load_timeout"},
    {B(NEXT_LATE),   ANY,         ANY,           B(OPENING),  ANY,            0,          0,
        SAME,        SAME,        SAME,          SAME,        0,              0,
        "refuse;kill_next=opening and constructing did not return within load_timeout"},
    {B(NEXT_LATE),   ANY,         ANY,           ANY,         ANY,            0,          0,
        SAME,        SAME,        SAME,          SAME,        0,              0,
        "refuse;kill_next=it is late"},

    /* The current generation stops. */
    {B(BOUNDARY),    ANY,         B(DRAINING),   ANY,         ANY,            0,          0,
        SAME,        UNLOADING,   SAME,          SAME,        0,              0,        "unload"},
    {B(BOUNDARY),    ANY,         B(RUNNING),    ANY,         ANY,            0,          0,
        SAME,        SAME,        SAME,          SAME,        0,              0,
        "kill_current=it says that it has stopped, which nobody asked for"},
    {B(FATAL), ANY, B(RUNNING) | B(DRAINING),    ANY,         ANY,            0,          0,
        SAME,        UNLOADING,   SAME,          S_FAILED,    0,              0,
        "show=on_broadcast returned FATAL (-16);unload"},
    {B(PANIC), ANY, B(RUNNING) | B(DRAINING),    ANY,         ANY,            0,          0,
        SAME,        EXITING,     SAME,          S_FAILED,    0,              0,
        "show=on_broadcast returned PANIC (-17);exit"},
    {B(DAMAGED), ANY, B(RUNNING) | B(DRAINING),  ANY,         ANY,            0,          0,
        SAME,        SAME,        SAME,          SAME,        0,              0,
        "kill_current=it found its ring unreadable"},
    {B(BOUNDARY) | B(FATAL) | B(PANIC) | B(DAMAGED), ANY, ANY, ANY, ANY,      0,          0,
        SAME,        SAME,        SAME,          SAME,        0,              0,          ""},
    {B(UNLOADED),    ANY,         B(UNLOADING),  ANY,         ANY,            0,          0,
        SAME,        EXITING,     SAME,          SAME,        0,              0,          "exit"},
    {B(UNLOADED),    ANY,         ANY,           ANY,         ANY,            0,          0,
        SAME,        SAME,        SAME,          SAME,        0,              0,          ""},
    {B(LATE),        ANY,         B(DRAINING),   ANY,         ANY,            0,        HURRIED,
        SAME,        SAME,        SAME,          SAME,        HURRIED,        0,         "hurry"},
    {B(LATE),        ANY,         B(DRAINING),   ANY,         ANY,            0,          0,
        SAME,        SAME,        SAME,          SAME,        0,              0,
        "kill_current=it did not stop within unload_timeout"},
    {B(LATE),        ANY,         B(UNLOADING),  ANY,         ANY,            0,          0,
        SAME,        SAME,        SAME,          SAME,        0,              0,
        "kill_current=on_unload took longer than unload_timeout"},
    {B(LATE),        ANY,         B(EXITING),    ANY,         ANY,            0,          0,
        SAME,        SAME,        SAME,          SAME,        0,              0,
        "kill_current=it did not end within unload_timeout"},
    {B(LATE),        ANY,         B(RUNNING),    ANY,         ANY,            0,          0,
        SAME,        SAME,        SAME,          SAME,        0,              0,
        "kill_current=it is late"},
    {B(LATE) | B(NONSENSE), ANY,  B(NOBODY),     ANY,         ANY,            0,          0,
        SAME,        SAME,        SAME,          SAME,        0,              0,          ""},
    {B(NONSENSE),    ANY,         ANY,           ANY,         ANY,            0,          0,
        SAME,        SAME,        SAME,          SAME,        0,              0,
        "kill_current=it sent a message that makes no sense"},

    /* Its process has ended, as it should or not. */
    {ENDING,         ANY,         B(NOBODY),     ANY,         ANY,            0,          0,
        SAME,        SAME,        SAME,          SAME,        0,              0,          ""},
    {B(ENDED),       B(STOPPING), B(EXITING),    B(NOBODY),   ANY,            0,          0,
        NONE,        NOBODY,      SAME,          S_UNLOADED,  0,              0,
        "drop_current;show="},
    {B(ENDED),       B(STOPPING), B(EXITING),    ANY,         ANY,            0,          0,
        NONE,        NOBODY,      NOBODY,        S_UNLOADED,  0,              0,
        "drop_current;drop_next;show="},
    {ENDING,         B(STOPPING), ANY,           B(NOBODY),   ANY,            0,          0,
        NONE,        NOBODY,      SAME,          S_UNLOADED,  0,              0,
        "report?;drop_current;show=why"},
    {ENDING,         B(STOPPING), ANY,           ANY,         ANY,            0,          0,
        NONE,        NOBODY,      NOBODY,        S_UNLOADED,  0,              0,
        "report?;drop_current;drop_next;show=why"},
    {ENDING,         ANY,         ANY,           B(READY),    ANY,            HANDING,    0,
        NONE,        RUNNING,     NOBODY,        S_RUNNING,   0,          TIMED | GO_ON,
        "report?;drop_current;run;show="},
    {ENDING,         ANY,         ANY,           B(OPEN),     ANY,            HANDING,    0,
        SAME,        NOBODY,      LOADING,       SAME,        0,              0,
        "report?;drop_current;load"},
    {ENDING,         ANY,         ANY,           ANY,         B(S_FAILED),    0,          0,
        SAME,        NOBODY,      SAME,          SAME,        0,              0,
        "report?;drop_current"},
    {B(CRASHED_AGAIN), ANY,       ANY,           ANY,         ANY,            0,          0,
        SAME,        NOBODY,      SAME, S_QUARANTINED,        0,              TIMED,
        "report?;drop_current;quarantine=why"},
    {ENDING,         ANY,         ANY,           ANY,         ANY,            0,          0,
        SAME,        NOBODY,      SAME,          S_BACKOFF,   TIMED,          0,
        "report?;drop_current;show=why"},

    /* What no honest worker says. */
    {STRANGE,        ANY,         ANY,           ANY,         ANY,            0,          0,
        SAME,        SAME,        SAME,          SAME,        0,              0,          ""},
};
/* clang-format on */
enum { ROWS = sizeof table / sizeof table[0] };

static const char *const names[SS_ACTION_TYPES] = {
    [SS_DO_SPAWN_PREPARED] = "spawn_prepared",
    [SS_DO_SPAWN_AGAIN] = "spawn_again",
    [SS_DO_KEEP] = "keep",
    [SS_DO_LOAD] = "load",
    [SS_DO_RUN] = "run",
    [SS_DO_DRAIN] = "drain",
    [SS_DO_HURRY] = "hurry",
    [SS_DO_UNLOAD] = "unload",
    [SS_DO_EXIT] = "exit",
    [SS_DO_KILL_CURRENT] = "kill_current",
    [SS_DO_KILL_NEXT] = "kill_next",
    [SS_DO_DROP_CURRENT] = "drop_current",
    [SS_DO_DROP_NEXT] = "drop_next",
    [SS_DO_EXPECT] = "expect",
    [SS_DO_REFUSE] = "refuse",
    [SS_DO_REPORT] = "report?",
    [SS_DO_SKIP] = "skip",
    [SS_DO_LOG] = "log",
    [SS_DO_SHOW] = "show",
    [SS_DO_QUARANTINE] = "quarantine",
};

/* ---- Every standing that can be reached -------------------------------------------------- */

static bool reached[STANDINGS];
static standing waiting[STANDINGS];
static uint32_t used[ROWS];

static bool fits(const row *r, standing s, uint32_t happens) {
    return (r->happens & B(happens)) != 0 && (r->plans & B(s.plan)) != 0 &&
           (r->currents & B(s.current)) != 0 && (r->nexts & B(s.next)) != 0 &&
           (r->states & B(s.state)) != 0 && (s.flags & r->set) == r->set &&
           (s.flags & r->clear) == 0;
}

static standing expected(const row *r, standing s) {
    return (standing){r->plan == SAME ? s.plan : r->plan,
                      r->current == SAME ? s.current : r->current,
                      r->next == SAME ? s.next : r->next, r->state == SAME ? s.state : r->state,
                      (s.flags | r->sets) & ~r->clears};
}

/* The row's actions, without a report where there was no crash. */
static void expected_actions(char *out, size_t room, const row *r, standing s, uint32_t happens) {
    const char *report = strstr(r->actions, "report?;");
    const bool crash = happens == NEXT_ENDED || happens == CRASHED || happens == CRASHED_AGAIN ||
                       (happens == ENDED && s.current != EXITING);
    if (report == NULL || crash)
        snprintf(out, room, "%s", r->actions);
    else
        snprintf(out, room, "%.*s%s", (int)(report - r->actions), r->actions, report + 8);
}

static void actions_of(char *out, size_t room, const ss_decision *d) {
    size_t used_room = 0;
    out[0] = '\0';
    for (uint32_t i = 0; i < d->count; i++)
        used_room += (size_t)snprintf(out + used_room, room - used_room, "%s%s%s%s",
                                      i > 0 ? ";" : "", names[d->actions[i].type],
                                      d->actions[i].text != NULL ? "=" : "",
                                      d->actions[i].text != NULL ? d->actions[i].text : "");
    REQUIRE(used_room < room);
}

static standing step(standing s, uint32_t happens, ss_decision *d) {
    ss_event event = happenings[happens];
    ss_standing at = make(s);
    event.why = "why";
    event.problem = "problem";
    event.now_ns = UINT64_C(1000000000000);
    event.spec = event.spec == NULL ? &patient : event.spec;
    *d = ss_decide(&at, &event);
    REQUIRE(happens != SWITCH || !d->accepted || at.load_reason == 7);
    return read_back(&at);
}

/* Nothing is done to what is not there, and nothing is made twice. */
static void check_sense(standing s, const ss_decision *d) {
    bool current = s.current != NOBODY;
    bool next = s.next != NOBODY;
    for (uint32_t i = 0; i < d->count; i++) {
        switch (d->actions[i].type) {
        case SS_DO_SPAWN_PREPARED:
        case SS_DO_SPAWN_AGAIN:
            REQUIRE(!next && i == d->count - 1);
            next = true;
            break;
        case SS_DO_RUN:
            REQUIRE(next && !current);
            next = false;
            current = true;
            break;
        case SS_DO_KEEP:
        case SS_DO_LOAD:
        case SS_DO_KILL_NEXT:
            REQUIRE(next);
            break;
        case SS_DO_DROP_NEXT:
            next = false; /* one that could not be spawned is dropped, too */
            break;
        case SS_DO_DRAIN:
        case SS_DO_HURRY:
        case SS_DO_UNLOAD:
        case SS_DO_EXIT:
        case SS_DO_KILL_CURRENT:
            REQUIRE(current);
            break;
        case SS_DO_DROP_CURRENT:
            REQUIRE(current);
            current = false;
            break;
        default:
            break;
        }
    }
}

/* What holds wherever it stands. */
static void check_standing(standing s) {
    const bool holds =
        s.next <= READY && (s.current == NOBODY || s.current >= RUNNING) &&
        (s.plan != NONE || s.next == NOBODY) &&
        ((s.flags & SWITCHING) == 0 || (s.plan == RELOAD && s.next == OPEN)) &&
        ((s.flags & PREPARED) == 0 || s.next == NOBODY) &&
        (s.plan != START || (s.current == NOBODY && (s.flags & RAN) != 0)) &&
        ((s.flags & HANDING) == 0 || (s.plan == RELOAD && s.next >= OPEN)) &&
        ((s.state != S_BACKOFF && s.state != S_QUARANTINED) || s.current == NOBODY);
    if (!holds)
        fprintf(stderr, "plan %u, current %u, next %u, state %u, flags %x\n", s.plan, s.current,
                s.next, s.state, s.flags);
    REQUIRE(holds);
}

static standing check_row(standing s, uint32_t happens) {
    char wanted[300];
    char done[300];
    uint32_t i = 0;
    ss_decision d;
    while (i < ROWS && !fits(&table[i], s, happens))
        i++;
    const standing after = step(s, happens, &d);
    const char *dash = i < ROWS && table[i].actions[0] == '-' ? "-" : "";
    if (i < ROWS) {
        used[i]++;
        expected_actions(wanted, sizeof wanted, &table[i], s, happens);
    } else {
        snprintf(wanted, sizeof wanted, "a row");
    }
    actions_of(done, sizeof done, &d);
    const bool good = i < ROWS && number_of(after) == number_of(expected(&table[i], s)) &&
                      strcmp(done, wanted + strlen(dash)) == 0 &&
                      (happens >= TICK || d.accepted == (dash[0] == '\0'));
    if (!good)
        fprintf(stderr,
                "row %u, happening %u: plan %u, current %u, next %u, state %u, flags %x\n"
                "  became %u, %u, %u, %u, %x: %s\n  wanted: %s\n",
                i, happens, s.plan, s.current, s.next, s.state, s.flags, after.plan, after.current,
                after.next, after.state, after.flags, done, wanted);
    REQUIRE(good);
    check_sense(s, &d);
    return after;
}

/* Whatever was begun comes to its end, whether its workers do as they are told or crash. */
static standing finish(standing s, bool obeys) {
    static const uint32_t answers[] = {
        [OPENING] = OPENED,   [OPEN] = CANCEL,       [LOADING] = LOADED, [RUNNING] = LATE,
        [DRAINING] = BOUNDARY, [UNLOADING] = UNLOADED, [EXITING] = ENDED};
    ss_decision d;
    for (int round = 0; s.plan != NONE; round++) {
        REQUIRE(round < 20);
        do
            s = step(s, TICK, &d);
        while (d.acted);
        if (s.next != NOBODY && s.next != READY)
            s = step(s, obeys ? answers[s.next] : NEXT_ENDED, &d);
        if (s.current != NOBODY && (s.current != RUNNING || s.plan == STOPPING))
            s = step(s, obeys ? answers[s.current] : CRASHED, &d);
    }
    return s;
}

static void check_ends(standing s) {
    ss_decision d;
    for (int obeys = 0; obeys < 2; obeys++) {
        finish(s, obeys);
        const standing end = finish(step(s, STOP, &d), obeys);
        REQUIRE(end.state == S_UNLOADED && end.current == NOBODY && end.next == NOBODY);
    }
}

static uint32_t check_table(void) {
    uint32_t count = 1;
    waiting[0] = (standing){0};
    reached[0] = true;
    for (uint32_t i = 0; i < count; i++) {
        if ((waiting[i].flags & GONE) != 0)
            continue; /* nobody serves it any more */
        check_standing(waiting[i]);
        if ((waiting[i].flags & DYING) == 0)
            check_ends(waiting[i]);
        for (uint32_t happens = 0; happens < HAPPENINGS; happens++) {
            const standing after = check_row(waiting[i], happens);
            if (reached[number_of(after)])
                continue;
            reached[number_of(after)] = true;
            waiting[count++] = after;
        }
    }
    for (uint32_t i = 0; i < ROWS; i++) {
        if (used[i] == 0)
            fprintf(stderr, "row %u is of no use\n", i);
        REQUIRE(used[i] > 0);
    }
    return count;
}

int main(void) {
    const uint32_t count = check_table();
    printf("%d rows for %u standings\n", (int)ROWS, count);
    return 0;
}
