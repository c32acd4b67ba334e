/* The log queue: wrap and overflow alone, then several writers against a reader.
 * Argument: lines of each writer. */
#include "check.h"
#include "base/log_queue.h"

#include <pthread.h>
#include <slipstream.h>
#include <stdatomic.h>
#include <string.h>

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
    REQUIRE(ss_log_queue_next(q, &line) && line.len == SLIPSTREAM_LOG_MAX && line.log_id == 1);
    REQUIRE(!ss_log_queue_next(q, &line));
    REQUIRE(ss_log_queue_dropped(q) == 1 && ss_log_queue_dropped(q) == 0);
    /* Full to the last byte and empty again, over and over. */
    for (unsigned round = 0; round < 50; round++) {
        unsigned put = 0;
        unsigned got = 0;
        for (; put < 10000; put++)
            ss_log_queue_put(q, SLIPSTREAM_LOG_INFO, put, text, round);
        while (ss_log_queue_next(q, &line))
            REQUIRE(line.log_id == got++ && line.len == round);
        REQUIRE(got < put && got + ss_log_queue_dropped(q) == put);
    }
    ss_log_queue_format(q, SLIPSTREAM_LOG_INFO, 3, "%s and %d\n", "text", 5);
    REQUIRE(ss_log_queue_next(q, &line) && strcmp(line.text, "text and 5\\n") == 0);
    memset(text, '%', 2 * SLIPSTREAM_LOG_MAX);
    text[2 * SLIPSTREAM_LOG_MAX - 1] = '\0';
    ss_log_queue_format(q, SLIPSTREAM_LOG_INFO, 3, "%s", text);
    REQUIRE(ss_log_queue_next(q, &line) && line.len == SLIPSTREAM_ERROR_MAX + 511);
    ss_log_queue_retain(q);
    ss_log_queue_release(q);
    ss_log_queue_wake(q);
    REQUIRE(!ss_log_queue_wait(q, 60000)); /* at once */
    ss_log_queue_release(q);
    free(text);
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
        ss_log_queue_put(shared, SLIPSTREAM_LOG_INFO, writer, text, len);
    }
    atomic_fetch_sub(&running, 1);
    return NULL;
}

static void together(void) {
    pthread_t threads[WRITERS];
    unsigned writers[WRITERS];
    unsigned long next[WRITERS] = {0};
    unsigned long got = 0;
    unsigned long dropped = 0;
    ss_log_line line;
    shared = ss_log_queue_new(BYTES);
    atomic_store(&running, WRITERS);
    for (unsigned i = 0; i < WRITERS; i++) {
        writers[i] = i;
        ss_log_queue_retain(shared);
        REQUIRE(pthread_create(&threads[i], NULL, write_lines, &writers[i]) == 0);
    }
    for (;;) {
        const int last = atomic_load(&running) == 0;
        ss_log_queue_wait(shared, 100);
        while (ss_log_queue_next(shared, &line)) {
            unsigned writer;
            unsigned long number;
            REQUIRE(sscanf(line.text, "%u %lu", &writer, &number) == 2);
            REQUIRE(writer < WRITERS && writer == line.log_id && number >= next[writer]);
            REQUIRE(line.len == 24 + (number * 31 + writer * 7) % 500);
            for (size_t i = 23; i < line.len; i++)
                REQUIRE(line.text[i] == (char)('a' + (int)((number + writer) % 26)));
            next[writer] = number + 1;
            got++;
        }
        dropped += ss_log_queue_dropped(shared);
        if (last)
            break;
    }
    for (unsigned i = 0; i < WRITERS; i++) {
        pthread_join(threads[i], NULL);
        ss_log_queue_release(shared);
    }
    REQUIRE(got + dropped == WRITERS * lines);
    REQUIRE(got > 0);
    ss_log_queue_release(shared);
    printf("log queue: %lu lines of %d writers, %lu dropped\n", got, WRITERS, dropped);
}

int main(int argc, char **argv) {
    lines = argc > 1 ? strtoul(argv[1], NULL, 10) : 20000;
    alone();
    together();
    return 0;
}
