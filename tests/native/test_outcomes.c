/* What becomes of events: notes as tables, against a model that keeps each event for itself; and
 * a run of a thousand of which three are rejected. */
#include "ring/refusals.h"
#include "ring_source.h"

/* ---- Tables ---------------------------------------------------------------------------- */

#define TAKEN_OUT SS_NOTED_TAKEN
#define LOST SS_NOTED_LOST
#define DEAD SS_NOTED_DEAD
#define UNKEPT SS_NOTED_DEAD_UNKEPT
#define ACK 10      /* first: the ordinal */
#define ABANDON 11
#define GONE 12 /* the consumer */
#define END 13

typedef struct deed {
    int what;
    uint64_t first, last;
} deed;

typedef struct row {
    const char *name;
    deed deeds[8];
    /* delivered, dead, unkept, told, undelivered */
    uint64_t wanted[5];
} row;

static const row rows[] = {
    {"nothing noted", {{ACK, 10, 0}, {END, 0, 0}}, {10, 0, 0, 0, 0}},
    {"one dead", {{DEAD, 3, 3}, {ACK, 10, 0}, {END, 0, 0}}, {9, 1, 0, 0, 0}},
    {"one unkept", {{UNKEPT, 3, 3}, {ACK, 10, 0}, {END, 0, 0}}, {9, 1, 1, 0, 0}},
    {"lost at the end", {{LOST, 8, 10}, {ACK, 10, 0}, {END, 0, 0}}, {7, 0, 0, 3, 0}},
    {"lost at the start", {{LOST, 1, 4}, {ACK, 10, 0}, {END, 0, 0}}, {6, 0, 0, 4, 0}},
    {"acknowledged in the middle of a loss",
     {{LOST, 3, 6}, {ACK, 4, 0}, {END, 0, 0}},
     {2, 0, 0, 2, 0}},
    {"and then its rest", {{LOST, 3, 6}, {ACK, 4, 0}, {ACK, 7, 0}, {END, 0, 0}}, {3, 0, 0, 4, 0}},
    {"an ack that is not news", {{DEAD, 2, 2}, {ACK, 5, 0}, {ACK, 5, 0}, {ACK, 3, 0}, {END, 0, 0}}, {4, 1, 0, 0, 0}},
    {"too late", {{ACK, 5, 0}, {DEAD, 3, 3}, {ACK, 6, 0}, {END, 0, 0}}, {6, 0, 0, 0, 0}},
    {"half too late", {{ACK, 5, 0}, {LOST, 3, 7}, {ACK, 8, 0}, {END, 0, 0}}, {6, 0, 0, 2, 0}},
    {"dead for good", {{DEAD, 3, 3}, {UNKEPT, 3, 3}, {LOST, 2, 4}, {ACK, 5, 0}, {END, 0, 0}}, {2, 1, 0, 2, 0}},
    {"a GAP that is dead", {{LOST, 2, 5}, {DEAD, 2, 5}, {ACK, 6, 0}, {END, 0, 0}}, {2, 4, 0, 0, 0}},
    {"the middle of a loss is dead", {{LOST, 2, 6}, {UNKEPT, 4, 4}, {ACK, 7, 0}, {END, 0, 0}}, {2, 1, 1, 4, 0}},
    {"the ends of a loss are dead",
     {{LOST, 2, 6}, {DEAD, 1, 2}, {DEAD, 6, 7}, {ACK, 8, 0}, {END, 0, 0}},
     {1, 4, 0, 3, 0}},
    {"holes between dead ones are lost", {{DEAD, 2, 2}, {DEAD, 4, 4}, {LOST, 1, 6}, {ACK, 6, 0}, {END, 0, 0}}, {0, 2, 0, 4, 0}},
    {"nothing was acknowledged", {{LOST, 3, 4}, {DEAD, 6, 6}, {ABANDON, 8, 0}, {END, 0, 0}}, {0, 1, 0, 0, 7}},
    {"a part was", {{LOST, 3, 4}, {UNKEPT, 6, 6}, {ACK, 3, 0}, {ABANDON, 8, 0}, {END, 0, 0}}, {2, 1, 1, 1, 4}},
    {"taken out, and acknowledged",
     {{LOST, 1, 2}, {TAKEN_OUT, 3, 4}, {LOST, 5, 6}, {ACK, 6, 0}, {END, 0, 0}},
     {2, 0, 0, 4, 0}},
    {"pieces of which one is acknowledged",
     {{TAKEN_OUT, 1, 3}, {LOST, 4, 4}, {TAKEN_OUT, 5, 7}, {ACK, 2, 0}, {GONE, 4, 0}, {ACK, 7, 0}, {END, 0, 0}},
     {2, 0, 0, 5, 0}},
    {"taken out, and refused",
     {{TAKEN_OUT, 1, 5}, {DEAD, 2, 2}, {TAKEN_OUT, 1, 5}, {UNKEPT, 4, 4}, {GONE, 3, 0}, {ACK, 5, 0}, {END, 0, 0}},
     {0, 2, 1, 3, 0}},
    {"taken out, and abandoned",
     {{TAKEN_OUT, 1, 3}, {ABANDON, 3, 0}, {END, 0, 0}},
     {0, 0, 0, 0, 3}},
    {"abandoned twice", {{ABANDON, 4, 0}, {ABANDON, 4, 0}, {ACK, 4, 0}, {END, 0, 0}}, {0, 0, 0, 0, 4}},
};

static void check_rows(void) {
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        ss_outcomes o = {0};
        const row *r = &rows[i];
        for (const deed *d = r->deeds; d->what != END; d++) {
            if (d->what == ACK)
                ss_outcomes_settle(&o, d->first);
            else if (d->what == ABANDON)
                ss_outcomes_abandon(&o, d->first);
            else if (d->what == GONE)
                REQUIRE(ss_outcomes_lose_taken(&o) == d->first, "%s: lost by its end", r->name);
            else
                ss_outcomes_note(&o, d->first, d->last, (enum ss_noted)d->what);
        }
        const uint64_t found[] = {o.delivered, o.dead, o.dead_unkept, o.told, o.undelivered};
        for (int k = 0; k < 5; k++)
            REQUIRE(found[k] == r->wanted[k], "%s: number %d is %llu, not %llu", r->name, k,
                    (llu)found[k], (llu)r->wanted[k]);
        REQUIRE(o.from == o.to || o.settled < 10, "%s: %zu are left", r->name, o.to - o.from);
        ss_outcomes_free(&o);
    }
}

/* ---- Against a model --------------------------------------------------------------------- */

enum { MODEL = 4096 };

static uint64_t check_model(uint64_t seed, uint64_t steps) {
    static uint8_t noted[MODEL + 1]; /* 0: nothing, else 1 + what */
    uint64_t random = seed * 2 + 1;
    ss_outcomes o = {0};
    uint64_t wanted[5] = {0};
    uint64_t settled = 0;
    uint64_t widest = 0;
    memset(noted, 0, sizeof noted);
    for (uint64_t i = 0; i < steps && settled < MODEL - 64; i++) {
        const uint64_t first = settled + 1 + below(&random, 1200 < MODEL - settled ? 1200 : MODEL - settled - 40);
        const uint64_t last = first + (below(&random, 4) == 0 ? below(&random, 30) : 0);
        const uint64_t what = below(&random, 64);
        if (last > MODEL)
            continue;
        if (what == 1 && i % 8 == 0) {
            uint64_t taken = 0;
            for (uint64_t k = settled + 1; k <= MODEL; k++)
                if (noted[k] == 1 + TAKEN_OUT) {
                    noted[k] = 1 + LOST;
                    taken++;
                }
            REQUIRE(ss_outcomes_lose_taken(&o) == taken, "%llu", (llu)taken);
        } else if (what == 0) {
            const uint64_t to = settled + below(&random, 200);
            for (; settled < to && settled < MODEL; settled++) {
                const uint8_t was = noted[settled + 1];
                wanted[0] += was <= 1 + TAKEN_OUT;
                wanted[1] += was >= 1 + DEAD;
                wanted[2] += was == 1 + UNKEPT;
                wanted[3] += was == 1 + LOST;
            }
            ss_outcomes_settle(&o, settled);
        } else {
            const uint64_t how = what % 4;
            ss_outcomes_note(&o, first, last, (enum ss_noted)how);
            for (uint64_t k = first; k <= last; k++)
                if (noted[k] < 1 + DEAD && noted[k] < 1 + how)
                    noted[k] = (uint8_t)(1 + how);
        }
        widest = o.to - o.from > widest ? o.to - o.from : widest;
        const uint64_t found[] = {o.delivered, o.dead, o.dead_unkept, o.told, o.undelivered};
        REQUIRE(memcmp(found, wanted, sizeof found) == 0 && o.settled == settled,
                "seed %llu, step %llu", (llu)seed, (llu)i);
        const uint64_t at = settled + 1 + below(&random, 300);
        uint64_t dead = 0;
        for (uint64_t k = settled + 1; k <= at && k <= MODEL; k++)
            dead += noted[k] >= 1 + DEAD;
        REQUIRE(ss_outcomes_count_dead(&o, settled + 1, at) == dead, "dead up to %llu", (llu)at);
        uint64_t known = 0;
        for (uint64_t k = at - 20 < at ? at - 20 : 1; k <= at && k <= MODEL; k++)
            known += k > settled && noted[k] != 0;
        REQUIRE(ss_outcomes_count_noted(&o, at - 20 < at ? at - 20 : 1, at) == known,
                "noted around %llu", (llu)at);
        REQUIRE(at > MODEL || ss_outcomes_is_dead(&o, at) == (noted[at] > LOST + 1), "dead %llu", (llu)at);
        uint64_t next = at + 1;
        while (next <= MODEL && noted[next] <= 1 + LOST)
            next++;
        REQUIRE(ss_outcomes_next_dead(&o, at) == (next <= MODEL ? next : 0), "next behind %llu",
                (llu)at);
    }
    ss_outcomes_free(&o);
    return widest;
}

/* ---- A run of a thousand ------------------------------------------------------------------ */

static const uint64_t rejected[] = {7, 250, 1000};

static int32_t reject_three(plugin *self, uint64_t ordinal, const slipstream_delivery *delivery) {
    const slipstream_settle_v1 *settle = slipstream_extension(&self->host.table, SLIPSTREAM_EXT_SETTLE);
    (void)ordinal;
    for (size_t i = 3; i-- > 0;)
        REQUIRE(rejected[i] >= delivery->first_ordinal + delivery->count ||
                    settle->reject(self->host.table.ctx, rejected[i], SLIPSTREAM_NOT_FOUND,
                                   "why", 3) == SLIPSTREAM_OK,
                "%llu", (llu)rejected[i]);
    return SLIPSTREAM_OK;
}

static ss_refusals refusals;

static void add_refusal(void *context, const ss_letter *letter, uint32_t number) {
    (void)context;
    /* Of a consumer out of its senses: nothing is counted, or the next would be confirmed early. */
    REQUIRE(!ss_refusals_add(&refusals, letter, number + 1), "one too early");
    REQUIRE(!ss_refusals_add(&refusals, letter, number - 1), "one that was before");
    REQUIRE(ss_refusals_add(&refusals, letter, number), "the next");
}

static void keep_refusals(void *context) {
    (void)context;
    ss_refusals_keep(&refusals);
}

static void check_thousand(void) {
    const size_t len = 1000 * FRAME_LEAST;
    ss_stats stats;
    FILE *file = tmpfile();
    ss_queue *queue = ss_queue_new(1024 * 1024, 0, SS_OVERFLOW_BLOCK, 0);
    plugin *p = new_plugin(SLIPSTREAM_FLAG_BATCH, 1000, 1);
    ss_letters *letters = ss_letters_new(p->log);
    uint8_t *run = malloc(len);
    REQUIRE(queue != NULL && letters != NULL && run != NULL && file != NULL, "memory");
    ss_log_queue_set_level(p->log, 99);
    ss_letters_open(letters, dup(fileno(file)), 1 << 30);
    refusals = (ss_refusals){.queue = queue, .letters = letters};
    for (uint64_t i = 0; i < 1000; i++)
        write_event(run + i * FRAME_LEAST, FRAME_LEAST, i + 1);
    p->status = reject_three;
    p->consumer.refused = add_refusal;
    p->consumer.keep = keep_refusals;
    const uint8_t *frames = run;
    size_t left = len;
    bool must_wake = false;
    REQUIRE(ss_queue_put(queue, &frames, &left, 1000, &must_wake) && !must_wake, "room");
    ss_queue_describe(queue, &stats);
    REQUIRE(stats.waiting == 1000 && stats.accepted == 1000, "%llu", (llu)stats.waiting);
    start(p, queue->ring);
    patience wait = {0};
    do {
        ss_queue_describe(queue, &stats);
        REQUIRE(stats.delivered + stats.dead + stats.waiting == stats.accepted, "sum");
        REQUIRE(stats.acknowledged <= stats.delivered + stats.dead, "%llu are not counted",
                (llu)(stats.acknowledged - stats.delivered - stats.dead));
        be_patient(&wait, stats.acknowledged, "ack");
    } while (stats.acknowledged < 1000);
    REQUIRE(stats.delivered == 997 && stats.dead == 3 && stats.dead_unkept == 0, "%llu, %llu",
            (llu)stats.delivered, (llu)stats.dead);
    REQUIRE(atomic_load(&p->calls) == 1, "%llu calls", (llu)atomic_load(&p->calls));
    REQUIRE(lseek(fileno(file), 0, SEEK_END) > 3 * FRAME_LEAST, "no letters");
    order_stop(queue->ring);
    join(p);
    free_plugin(p);
    ss_letters_free(letters);
    ss_queue_free(queue);
    free(run);
    fclose(file);
}

int main(int argc, char **argv) {
    uint64_t widest = 0;
    REQUIRE(argc == 2, "how often?");
    check_rows();
    for (uint64_t seed = 1; seed <= strtoull(argv[1], NULL, 10); seed++) {
        const uint64_t ranges = check_model(seed, 6000);
        widest = ranges > widest ? ranges : widest;
    }
    REQUIRE(widest > 2 * SS_RANGES_LEAST, "only %llu ranges", (llu)widest);
    check_thousand();
    printf("%zu rows, up to %llu ranges, one run of a thousand\n", sizeof rows / sizeof rows[0],
           (llu)widest);
    return 0;
}
