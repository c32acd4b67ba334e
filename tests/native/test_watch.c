/* The watch: what it makes of what a consumer writes; then many consumers that come, are late
 * or not, and go, while others ask. Argument: rounds of each consumer. */
#include "check.h"
#include "consumer/watch.h"

#include <dirent.h>
#include <pthread.h>
#include <slipstream.h>
#include <stdatomic.h>
#include <string.h>
#include <unistd.h>

enum { CONSUMERS = 6, LIMIT_MS = 250 };

static const uint64_t key = 0x123456789ABCDEF0;

static void say(ss_control *control, uint64_t started, uint64_t run, uint32_t flushing) {
    ss_tell(&control->started, key, SS_PLACE_STARTED, started);
    ss_tell(&control->run, key, SS_PLACE_RUN, run);
    atomic_store(&control->flushing, flushing);
}

/* Each row: what the consumer writes, at a time, and how long it has been busy then. */
static void judge(void) {
    static const struct {
        uint64_t now, started, run;
        uint32_t flushing, called;
        uint64_t busy;
    } rows[] = {
        {10, 0, 0, 0, 0, 0},   {20, 1, 1, 0, 0, 0},   {30, 1, 1, 0, 0, 10},
        {90, 1, 1, 0, 0, 70},  {100, 2, 1, 0, 0, 0}, /* the next event */
        {130, 2, 1, 0, 0, 30}, {140, 2, 1, 0, 1, 0}, /* the same event, tried again */
        {150, 2, 1, 0, 0, 10}, {160, 2, 0, 0, 0, 0}, /* outside of a call */
        {170, 2, 1, 0, 0, 0},  {180, 2, 0, 1, 0, 0}, /* a flush */
        {190, 2, 0, 1, 0, 10}, {200, 2, 0, 0, 0, 0},
    };
    ss_control *control = ss_control_new(NULL);
    ss_watch watch = {0};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        say(control, rows[i].started, rows[i].run, rows[i].flushing);
        atomic_fetch_add(&control->calls, rows[i].called);
        REQUIRE(ss_watch_look(&watch, control, key, rows[i].now));
        REQUIRE(ss_watch_busy_ns(&watch, rows[i].now) == rows[i].busy);
        REQUIRE(watch.started == rows[i].started);
    }
    say(control, 2, 1, 0);
    REQUIRE(ss_watch_look(&watch, control, key, 210) && ss_watch_look(&watch, control, key, 220));
    REQUIRE(ss_watch_busy_ns(&watch, 220) == 10);
    watch.since_ns = 0; /* nobody has run meanwhile: it is measured from here on */
    REQUIRE(ss_watch_look(&watch, control, key, 270) && ss_watch_busy_ns(&watch, 270) == 0);
    REQUIRE(ss_watch_look(&watch, control, key, 280) && ss_watch_busy_ns(&watch, 280) == 10);
    say(control, 3, 1, 0);
    atomic_store(&control->run.value, 2); /* written over */
    REQUIRE(!ss_watch_look(&watch, control, key, 300));
    REQUIRE(!ss_watch_look(&watch, control, key, 400));
    REQUIRE(ss_watch_busy_ns(&watch, 400) == 0);
    ss_control_free(control);
}

/* Who comes again is not measured by what was seen before. */
static void come_again(void) {
    ss_control *control = ss_control_new(NULL);
    ss_log_queue *log = ss_log_queue_new(4096);
    ss_watched one = {.control = control, .key = key, .log = log, .limit_ms = LIMIT_MS};
    say(control, 1, 1, 0);
    one.watch = (ss_watch){.started = 1, .since_ns = 1};
    ss_watched_add(&one);
    REQUIRE(ss_watched_late_ns(&one) == 0);
    ss_watched_remove(&one);
    ss_control_free(control);
    ss_log_queue_release(log);
}

/* ---- Many of them ---------------------------------------------------------------------- */

static ss_watched consumers[CONSUMERS];
static _Atomic uint32_t stuck[CONSUMERS]; /* lines that say so */
static _Atomic uint32_t over[CONSUMERS];
static _Atomic uint32_t running;
static ss_log_queue *queue;
static uint32_t rounds;

static uint32_t threads_called(const char *wanted) {
    char path[300];
    char name[64];
    uint32_t found = 0;
    DIR *folder = opendir("/proc/self/task");
    REQUIRE(folder != NULL);
    for (const struct dirent *entry; (entry = readdir(folder)) != NULL;) {
        snprintf(path, sizeof path, "/proc/self/task/%s/comm", entry->d_name);
        FILE *file = fopen(path, "re");
        if (file == NULL)
            continue;
        if (fgets(name, sizeof name, file) != NULL)
            found += strncmp(name, wanted, strlen(wanted)) == 0;
        fclose(file);
    }
    closedir(folder);
    return found;
}

/* One with an odd number is late once in each round, until it has been told of. */
static void *consume(void *argument) {
    ss_watched *self = argument;
    ss_control *control = (ss_control *)(uintptr_t)self->control;
    for (uint32_t round = 0; round < rounds; round++) {
        ss_watched_add(self);
        for (uint64_t call = 1; call <= 3; call++) {
            say(control, 10 * round + call, 1, 0);
            while (call == 2 && self->log_id % 2 == 1 && stuck[self->log_id] <= round)
                usleep(1000);
            REQUIRE((ss_watched_late_ns(self) > LIMIT_MS * UINT64_C(1000000)) ==
                    (call == 2 && self->log_id % 2 == 1));
            say(control, 10 * round + call, 0, 0);
            atomic_fetch_add(&control->calls, 1);
        }
        ss_watched_remove(self);
        REQUIRE(ss_watched_late_ns(self) == 0);
    }
    atomic_fetch_sub(&running, 1);
    return NULL;
}

/* Who is late is told of once, and so is that it is not any more. */
static uint32_t read_lines(void) {
    uint32_t found = 0;
    char wanted[200];
    ss_log_line line;
    for (; ss_log_queue_next(queue, &line); found++) {
        const uint32_t id = line.log_id;
        snprintf(wanted, sizeof wanted,
                 "plugin is stuck: a callback takes longer than callback_timeout (0.25 s), "
                 "ordinal %u",
                 10 * stuck[id] + 2);
        if (strcmp(line.text, wanted) == 0) {
            REQUIRE(line.level == SLIPSTREAM_LOG_ERROR && over[id] == stuck[id]);
            stuck[id]++;
        } else {
            REQUIRE(strcmp(line.text, "plugin is not stuck any more") == 0);
            REQUIRE(line.level == SLIPSTREAM_LOG_WARN && ++over[id] == stuck[id]);
        }
    }
    return found;
}

int main(int argc, char **argv) {
    pthread_t threads[CONSUMERS];
    uint32_t lines = 0;
    rounds = argc > 1 ? (uint32_t)atoi(argv[1]) : 3;
    queue = ss_log_queue_new(128 * 1024);
    judge();
    come_again();
    running = CONSUMERS;
    for (uint32_t i = 0; i < CONSUMERS; i++) {
        ss_control *control = ss_control_new(NULL);
        say(control, 0, 0, 0);
        consumers[i] = (ss_watched){.control = control,
                                    .key = key,
                                    .log = queue,
                                    .log_id = i,
                                    .limit_ms = i == 0 ? 0 : LIMIT_MS};
        REQUIRE(pthread_create(&threads[i], NULL, consume, &consumers[i]) == 0);
    }
    while (running > 0) {
        lines += read_lines();
        for (size_t i = 0; i < CONSUMERS; i++) /* anybody may ask */
            REQUIRE(i % 2 == 1 || ss_watched_late_ns(&consumers[i]) == 0);
        usleep(1000);
    }
    for (uint32_t i = 0; i < CONSUMERS; i++)
        pthread_join(threads[i], NULL);
    lines += read_lines();
    REQUIRE(threads_called("slip-watch") == 0);
    for (uint32_t i = 0; i < CONSUMERS; i++) {
        REQUIRE(stuck[i] == (i % 2 == 1 ? rounds : 0) && over[i] == stuck[i]);
        ss_control_free((ss_control *)(uintptr_t)consumers[i].control);
    }
    ss_log_queue_release(queue);
    printf("%u rounds watched, %u lines\n", CONSUMERS * rounds, lines);
    return 0;
}
