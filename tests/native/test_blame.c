/* What follows from crashes: when a plugin is started again, and which event is a dead letter. */
#include "check.h"
#include "process/step.h"
#include "process/supervisor.h"

#define MS UINT64_C(1000000)

static const ss_spec patient = {.initial_delay_ms = 100, .max_delay_ms = 1000, .window_ms = 1000};

static void check_times(void) {
    ss_standing at = (ss_standing){
        .state = SS_SUPERVISED_RUNNING, .current = SS_PHASE_RUNNING, .has_run = true};
    ss_event event = {SS_HAS_ENDED, .why = "why", .spec = &patient, .now_ns = 5000 * MS};
    event.random = 50; /* a twentieth of the delay */
    ss_decide(&at, &event);
    REQUIRE(at.restart_at_ns == 5105 * MS && at.blame.crashes == 1);
    event = (ss_event){SS_TICK, .spec = &patient, .now_ns = at.restart_at_ns - 1};
    REQUIRE(!ss_decide(&at, &event).acted && at.plan == SS_PLAN_NONE);
    event.now_ns++;
    REQUIRE(ss_decide(&at, &event).acted && at.plan == SS_PLAN_START);
    REQUIRE(at.load_reason == SLIPSTREAM_LOAD_RESTART);
    event = (ss_event){SS_NOT_SPAWNED, .of_next = true, .problem = "", .spec = &patient, .now_ns = 5200 * MS};
    ss_decide(&at, &event);
    REQUIRE(at.blame.never_started == 1 && at.restart_at_ns == 5400 * MS);
    REQUIRE(ss_blame_recent(&at.blame, &patient, 5200 * MS) == 1); /* the crash alone */
    at.blame.failed_starts = 2;
    REQUIRE(ss_blame_recent(&at.blame, &patient, 5200 * MS) == 3);
    event = (ss_event){SS_ASKED_RESUME, .now_ns = 5201 * MS};
    ss_decide(&at, &event);
    REQUIRE(at.restart_at_ns == 5201 * MS && ss_blame_recent(&at.blame, &patient, 5201 * MS) == 0);
}

static void check_delays(void) {
    static const uint64_t wanted[] = {100, 100, 200, 400, 800, 1000, 1000};
    for (uint32_t recent = 0; recent < sizeof wanted / sizeof wanted[0]; recent++) {
        REQUIRE(ss_blame_delay_ns(&patient, recent, 0) == wanted[recent] * MS);
        for (uint64_t random = 0; random < 1000; random++) {
            const uint64_t delay = ss_blame_delay_ns(&patient, recent, random);
            REQUIRE(delay >= wanted[recent] * MS && delay < wanted[recent] * 11 * MS / 10);
        }
    }
    const ss_spec steady = {.initial_delay_ms = 70, .max_delay_ms = 50};
    REQUIRE(ss_blame_delay_ns(&steady, 3, 0) == 50 * MS);
}

static void check_window(void) {
    ss_blame blame = {0};
    const ss_in_flight nothing = {0};
    for (uint64_t i = 0; i < 3 * SS_CRASHES_MAX; i++) {
        REQUIRE(ss_blame_crash(&blame, &nothing, i * 100 * MS) == 0);
        REQUIRE(ss_blame_recent(&blame, &patient, i * 100 * MS) == (i < 10 ? i + 1 : 11));
    }
    REQUIRE(ss_blame_recent(&blame, &patient, 3 * SS_CRASHES_MAX * 100 * MS + 2000 * MS) == 0);
}

/* Each row: a crash; what comes out, whether the next one flushes after each, crashes counted. */
static void check_blame(void) {
    static const struct {
        ss_in_flight in_flight;
        uint64_t poison;
        bool flushes;
        uint32_t crashes;
    } rows[] = {
        {{10, 14, 4, false}, 0, false, 1},  /* a run blames nobody */
        {{11, 12, 1, false}, 0, false, 2},  /* an event, alone */
        {{0}, 0, false, 3},                 /* nothing is known: it is not forgotten */
        {{11, 12, 1, false}, 0, true, 3},   /* the same one counts once */
        {{11, 12, 1, false}, 12, false, 3}, /* and is a dead letter the third time */
        {{11, 12, 1, false}, 0, false, 4},  /* it begins anew, if it comes at all */
        {{12, 13, 1, false}, 0, false, 5},
        {{12, 13, 1, false}, 0, true, 5},
        {{13, 14, 1, false}, 0, false, 6},  /* another one lets the last one off */
        {{20, 20, 0, false}, 0, false, 7},  /* outside of a call */
        {{20, 25, 5, true}, 0, false, 8},   /* in flush, with five events */
        {{21, 25, 4, true}, 0, true, 9},    /* again, with some of them */
        {{22, 23, 1, true}, 0, true, 10},   /* now it flushes after each */
        {{22, 23, 1, true}, 0, true, 10},
        {{22, 23, 1, true}, 23, true, 10},
        {{25, 30, 5, true}, 0, false, 11},  /* others */
        {{27, 28, 1, false}, 0, false, 12}, /* none in flush */
        {{27, 29, 2, true}, 0, false, 13},  /* so that this counts from the start */
    };
    ss_blame blame = {0};
    for (uint32_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        const uint64_t poison = ss_blame_crash(&blame, &rows[i].in_flight, 1);
        if (poison != rows[i].poison || ss_blame_wants_flushes(&blame) != rows[i].flushes ||
            blame.crashes != rows[i].crashes)
            fprintf(stderr, "crash %u\n", i);
        REQUIRE(poison == rows[i].poison);
        REQUIRE(ss_blame_wants_flushes(&blame) == rows[i].flushes);
        REQUIRE(blame.crashes == rows[i].crashes);
    }
    /* What is to blame is skipped; the generation after it flushes if that is to be found out. */
    ss_standing at = (ss_standing){
        .state = SS_SUPERVISED_RUNNING, .current = SS_PHASE_RUNNING, .has_run = true};
    ss_event event = {SS_HAS_ENDED, .spec = &patient, .in_flight = {11, 12, 1, false}};
    at.blame.poison = 12;
    at.blame.poison_crashes = 2;
    const ss_decision d = ss_decide(&at, &event);
    REQUIRE(d.actions[1].type == SS_DO_SKIP && d.actions[1].number == 12);
    at.blame.flush_crashes = 2;
    at.blame.failed_starts = at.blame.never_started = 4;
    at.next = SS_PHASE_LOADING;
    at.plan = SS_PLAN_START;
    event = (ss_event){SS_SAID_LOADED, .of_next = true};
    const ss_decision run = ss_decide(&at, &event);
    REQUIRE(run.actions[1].type == SS_DO_RUN && run.actions[1].number == 1);
    REQUIRE(at.blame.failed_starts == 0 && at.blame.never_started == 0);
}

int main(void) {
    check_times();
    check_delays();
    check_window();
    check_blame();
    puts("blamed");
    return 0;
}
