/* The log queue: wrap and overflow alone, then several writers against a reader.
 * Argument: lines of each writer. */
#include "check.h"
#include "base/log_queue.h"
#include "platform/platform.h"

#include <pthread.h>
#include <slipstream.h>
#include <stdatomic.h>
#include <string.h>
#include <unistd.h>

enum { BYTES = 128 * 1024, WRITERS = 4 };

static void alone(void) {
    ss_log_queue *q = ss_log_queue_new(BYTES);
    ss_log_line line;
    char *text = malloc(2 * SLIPSTREAM_LOG_MAX);
    REQUIRE(!ss_log_queue_next(q, &line) && !ss_log_queue_wait(q, 1) &&
            ss_log_queue_dropped(q) == 0);
    REQUIRE(!ss_log_queue_wants(q, SLIPSTREAM_LOG_DEBUG) &&
            ss_log_queue_wants(q, SLIPSTREAM_LOG_INFO));
    ss_log_queue_put(q, SLIPSTREAM_LOG_DEBUG, 1, "unwanted", 8);
    REQUIRE(!ss_log_queue_next(q, &line));
    /* Lengths that end everywhere in the ring, one line at a time. */
    for (unsigned i = 0; i < 20000; i++) {
        const size_t len = i * 7 % 3000;
        memset(text, 'a' + (int)(i % 26), len);
        ss_log_queue_put(q, SLIPSTREAM_LOG_WARN, i, text, len);
        REQUIRE(ss_log_queue_wait(q, 0) && ss_log_queue_next(q, &line));
        REQUIRE(line.len == len && line.log_id == i && line.level == SLIPSTREAM_LOG_WARN);
        REQUIRE(memcmp(line.text, text, len) == 0 && line.text[len] == '\0' && line.time_ns > 0);
        REQUIRE(!ss_log_queue_next(q, &line));
    }
    /* The longest one, twice: the second has no room. */
    memset(text, 'x', 2 * SLIPSTREAM_LOG_MAX);
    ss_log_queue_put(q, SLIPSTREAM_LOG_INFO, 1, text, 2 * SLIPSTREAM_LOG_MAX);
    ss_log_queue_put(q, SLIPSTREAM_LOG_INFO, 2, text, SLIPSTREAM_LOG_MAX);
    REQUIRE(ss_log_queue_next(q, &line) && line.log_id == 1);
    REQUIRE(strcmp(line.text + SLIPSTREAM_LOG_MAX, " [cut: it has 131072 bytes]") == 0);
    REQUIRE(!ss_log_queue_next(q, &line));
    REQUIRE(ss_log_queue_dropped(q) == 1 && ss_log_queue_dropped(q) == 0);
    /* Full to the last byte and empty again, over and over. */
    for (unsigned round = 0; round < 50; round++) {
        unsigned put = 0;
        unsigned got = 0;
        for (; put < 10000; put++)
            ss_log_queue_relay(q, 0, SLIPSTREAM_LOG_INFO, put, text, round, round);
        while (ss_log_queue_next(q, &line))
            REQUIRE(line.log_id == got++ && line.len == round);
        REQUIRE(got < put && got + ss_log_queue_dropped(q) == put);
    }
    ss_log_queue_format(q, SLIPSTREAM_LOG_INFO, 3, "%s and %d\n", "text", 5);
    REQUIRE(ss_log_queue_next(q, &line) && strcmp(line.text, "text and 5\\n") == 0);
    memset(text, '%', 2 * SLIPSTREAM_LOG_MAX);
    text[2 * SLIPSTREAM_LOG_MAX - 1] = '\0';
    ss_log_queue_format(q, SLIPSTREAM_LOG_INFO, 3, "%s", text);
    REQUIRE(ss_log_queue_next(q, &line) && line.len > SLIPSTREAM_ERROR_MAX + 511);
    REQUIRE(strstr(line.text, "%% [cut: it has 131071 bytes]") != NULL);
    ss_log_queue_retain(q);
    ss_log_queue_release(q);
    ss_log_queue_poke(q);
    REQUIRE(!ss_log_queue_wait(q, 60000)); /* at once */
    ss_log_queue_wake(q);
    REQUIRE(!ss_log_queue_wait(q, 60000)); /* at once */
    ss_log_queue_release(q);
    free(text);
}

/* How many lines wait of a source; `last` is the last of all. */
static unsigned take(ss_log_queue *q, uint32_t log_id, ss_log_line *last) {
    unsigned count = 0;
    while (ss_log_queue_next(q, last))
        count += last->log_id == log_id;
    return count;
}

static void await_second(void) {
    const uint64_t second = ss_os_now_ns() / 1000000000;
    while (ss_os_now_ns() / 1000000000 == second)
        usleep(1000);
}

/* Each source has a rate, what the core says of it another; what is withheld is told. */
static void at_a_rate(void) {
    enum { MORE = SS_LINES_A_SECOND + 500 };
    ss_log_queue *q = ss_log_queue_new(1 << 20);
    ss_log_line line;
    await_second(); /* all of it in one */
    for (unsigned i = 0; i < MORE; i++)
        ss_log_queue_put(q, SLIPSTREAM_LOG_ERROR, 7, "again", 5);
    ss_log_queue_tell_withheld(q, 0);
    REQUIRE(take(q, 7, &line) == SS_LINES_A_SECOND);
    ss_log_queue_put(q, SLIPSTREAM_LOG_INFO, 8, "another", 7);
    REQUIRE(take(q, 8, &line) == 1);
    for (unsigned i = 0; i < MORE; i++)
        ss_log_queue_format(q, SLIPSTREAM_LOG_ERROR, 7, "of it, %u", i);
    REQUIRE(take(q, 7, &line) == SS_LINES_A_SECOND && !ss_log_queue_may_say(q, 7));
    for (unsigned i = 0; i < MORE; i++) {
        ss_log_queue_tell(q, SLIPSTREAM_LOG_ERROR, 7, "seldom");
        ss_log_queue_put(q, SLIPSTREAM_LOG_INFO, 0, "the core", 8);
    }
    REQUIRE(take(q, 7, &line) == MORE);
    await_second();
    ss_log_queue_tell_withheld(q, 0);
    REQUIRE(take(q, 7, &line) == 2);
    ss_log_queue_put(q, SLIPSTREAM_LOG_INFO, 7, "and on it goes", 14);
    REQUIRE(take(q, 7, &line) == 1 && ss_log_queue_dropped(q) == 0);
    /* At once, before the second is over. */
    for (unsigned i = 0; i < 2 * MORE; i++)
        ss_log_queue_put(q, SLIPSTREAM_LOG_INFO, 9, "again", 5);
    REQUIRE(take(q, 9, &line) >= SS_LINES_A_SECOND);
    ss_log_queue_tell_withheld(q, 1);
    REQUIRE(take(q, 9, &line) == 1);
    /* A worker's word about the time holds, unless it makes no sense. */
    const int64_t now = (int64_t)ss_os_wall_ns();
    ss_log_queue_relay(q, now - 1000, SLIPSTREAM_LOG_INFO, 7, "on its way", 10, 10);
    REQUIRE(ss_log_queue_next(q, &line) && line.time_ns == now - 1000);
    REQUIRE(line.end == ss_log_queue_end(q));
    ss_log_queue_relay(q, INT64_MAX, SLIPSTREAM_LOG_INFO, 7, "the future", 10, 10);
    REQUIRE(ss_log_queue_next(q, &line) && line.time_ns >= now);
    REQUIRE(line.time_ns <= (int64_t)ss_os_wall_ns());
    ss_log_queue_release(q);
}

static ss_log_queue *shared;
static unsigned long lines;
static atomic_int running;

/* Lines "writer number" of different lengths, numbered, so that the reader sees any mix-up. */
static void *write_lines(void *argument) {
    const unsigned writer = *(const unsigned *)argument;
    char text[600];
    for (unsigned long i = 0; i < lines; i++) {
        const size_t len = 24 + (i * 31 + writer * 7) % 500;
        memset(text, 'a' + (int)((i + writer) % 26), sizeof text);
        snprintf(text, sizeof text, "%u %020lu", writer, i);
        text[22] = ' ';
        text[23] = (char)('a' + (int)((i + writer) % 26));
        text[len] = '\0';
        ss_log_queue_tell(shared, SLIPSTREAM_LOG_INFO, writer, text);
    }
    atomic_fetch_sub(&running, 1);
    return NULL;
}

typedef struct reader {
    bool (*next)(ss_log_queue *, ss_log_line *);
    bool is_alone; /* only then it may wait */
    atomic_ulong got;
} reader;

/* What it takes is whole, and in order. */
static void *read_lines(void *argument) {
    reader *r = argument;
    unsigned long next[WRITERS] = {0};
    int64_t time_ns = 0;
    ss_log_line line;
    for (;;) {
        const int last = atomic_load(&running) == 0;
        if (r->is_alone)
            ss_log_queue_wait(shared, 100);
        while (r->next(shared, &line)) {
            unsigned writer;
            unsigned long number;
            REQUIRE(sscanf(line.text, "%u %lu", &writer, &number) == 2);
            REQUIRE(writer < WRITERS && writer == line.log_id && number >= next[writer]);
            REQUIRE(line.len == 24 + (number * 31 + writer * 7) % 500);
            for (size_t i = 23; i < line.len; i++)
                REQUIRE(line.text[i] == (char)('a' + (int)((number + writer) % 26)));
            REQUIRE(line.time_ns >= time_ns); /* between all of them */
            time_ns = line.time_ns;
            next[writer] = number + 1;
            atomic_fetch_add(&r->got, 1);
        }
        if (last)
            return NULL;
    }
}

/* Several writers, and the reader; with it a handler that takes the lines of a falling process. */
static void together(bool is_falling) {
    pthread_t threads[WRITERS];
    pthread_t handler;
    unsigned writers[WRITERS];
    reader beside = {ss_log_queue_next_in_crash, false, 0};
    reader first = {ss_log_queue_next, !is_falling, 0};
    shared = ss_log_queue_new(BYTES);
    atomic_store(&running, WRITERS);
    for (unsigned i = 0; i < WRITERS; i++) {
        writers[i] = i;
        ss_log_queue_retain(shared);
        REQUIRE(pthread_create(&threads[i], NULL, write_lines, &writers[i]) == 0);
    }
    REQUIRE(!is_falling || pthread_create(&handler, NULL, read_lines, &beside) == 0);
    while (is_falling && atomic_load(&beside.got) == 0)
        usleep(100);
    read_lines(&first);
    if (is_falling)
        pthread_join(handler, NULL);
    read_lines(&first); /* what the other was in the middle of */
    for (unsigned i = 0; i < WRITERS; i++) {
        pthread_join(threads[i], NULL);
        ss_log_queue_release(shared);
    }
    const unsigned long dropped = ss_log_queue_dropped(shared);
    REQUIRE(first.got + beside.got + dropped == WRITERS * lines);
    REQUIRE(first.got > 0 || is_falling);
    ss_log_queue_release(shared);
    printf("log queue: %lu + %lu lines of %d writers, %lu dropped\n", first.got, beside.got,
           WRITERS, dropped);
}

int main(int argc, char **argv) {
    lines = argc > 1 ? strtoul(argv[1], NULL, 10) : 20000;
    alone();
    at_a_rate();
    together(false);
    together(true);
    return 0;
}
