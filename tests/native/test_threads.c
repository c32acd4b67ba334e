/* Thread mode: rings with each policy, three broadcasting threads, and a control thread that
 * pauses, flushes, reloads, detaches and attaches at random. In the end every event was
 * delivered once or is in a gap.
 * Arguments: seconds, seed, the plugin witness.so for each of three kinds of flags. */
#include "consumer/consume.h"
#include "sequencer/sequencer.h"
#include "consumer/thread.h"
#include "base/clock.h"
#include "packed.h"
#include "witness.h"

#include <string.h>
#include <unistd.h>

enum { SENDERS = 3, PLUGINS = 4, WAIT_MS = 240000, RING = 64 * 1024, RUN = 8, LARGEST = 4000 };

typedef struct place {
    const char *path;
    uint32_t overflow;
    uint32_t slot;
    ss_queue *queue;
    ss_instance *instance;
    ss_thread *thread;
    bool paused;
    ledger book;
} place;

static ss_sequencer *sequencer;
static ss_log_queue *queue;
static uint32_t log_id;
static atomic_bool stop;
static place places[PLUGINS];
static ss_letters *letters; /* nowhere */
static char gap[SS_GAP_LEN];
static size_t gap_len;
static uint64_t totals[4]; /* events, lost, gaps, generations */

/* Linked in front of ss_consume: a consumer that has stopped, and is slow to say so, so that
 * the control thread thinks better of it just then. */
uint32_t __real_ss_consume(ss_consumer *consumer);
uint32_t __wrap_ss_consume(ss_consumer *consumer);

uint32_t __wrap_ss_consume(ss_consumer *consumer) {
    const uint32_t reason = __real_ss_consume(consumer);
    if (ss_os_now_ns() % 8 == 0)
        usleep(2000);
    return reason;
}

/* ---- Senders --------------------------------------------------------------------------- */

static uint64_t next(uint64_t *state) {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state;
}

static size_t write_block(uint8_t *out, uint64_t height, size_t len) {
    static _Thread_local uint8_t data[LARGEST];
    for (size_t i = 0; i < len; i++)
        data[i] = (uint8_t)(height + i);
    const ss_draft draft = {
        .kind = SLIPSTREAM_KIND_BLOCK, .height = height, .spans = {{data, len}}};
    const size_t size = ss_frame_size(&draft);
    ss_frame_write(out, size, &draft);
    return size;
}

static void *send_blocks(void *argument) {
    uint64_t random = (uint64_t)(uintptr_t)argument * 0x9E3779B97F4A7C15 | 1;
    uint8_t *run = malloc(RUN * (LARGEST + 128));
    ss_sent sent;
    REQUIRE(run != NULL);
    while (!atomic_load(&stop)) {
        const size_t count = 1 + next(&random) % RUN;
        size_t len = 0;
        for (size_t k = 0; k < count; k++)
            len += write_block(run + len, next(&random) % 1000000,
                               next(&random) % (next(&random) % 16 == 0 ? LARGEST : 100));
        REQUIRE(ss_sequencer_send(sequencer, run, len, &sent) == SLIPSTREAM_OK &&
                sent.index == count);
        if (next(&random) % 64 == 0)
            usleep(500);
    }
    free(run);
    return NULL;
}

/* Numbers may be asked for at any time. */
static void *ask(void *unused) {
    (void)unused;
    while (!atomic_load(&stop)) {
        ss_stats stats;
        for (uint32_t i = 0; i < 8; i++)
            ss_sequencer_stats(sequencer, i, &stats);
        ss_sequencer_busy_slot(sequencer);
        usleep(200);
    }
    return NULL;
}

/* ---- Control --------------------------------------------------------------------------- */

static void finish_step(const place *p, int32_t started) {
    REQUIRE(started == SLIPSTREAM_OK);
    REQUIRE(ss_instance_wait(p->instance, WAIT_MS) == SLIPSTREAM_OK);
}

static void load(place *p, uint32_t reason) {
    packed config;
    size_t len;
    packed_new(&config);
    packed_add_number(&config, 0, "ledger", (int64_t)(uintptr_t)&p->book);
    char *bytes = packed_bytes(&config, &len);
    p->instance = ss_instance_new(queue, ++log_id, p->path, p->path, "/");
    REQUIRE(p->instance != NULL);
    finish_step(p, ss_instance_open(p->instance));
    finish_step(p, ss_instance_load(p->instance, bytes, len, reason));
    free(bytes);
    ss_instance_info info;
    ss_instance_describe(p->instance, &info);
    REQUIRE(info.refusal == SS_REFUSED_NOTHING && info.is_loaded);
    const ss_thread_options options = {.log_id = log_id,
                                       .flush_idle_ms = 20,
                                       .callback_timeout_ms = log_id % 2 == 0 ? 60000 : 0,
                                       .retry_initial_ms = 1,
                                       .retry_max_ms = 2};
    p->thread = ss_thread_start(p->instance, p->queue, queue, letters, &options);
    REQUIRE(p->thread != NULL);
}

/* `hurried`: what is left stays in the ring. */
static void unload(place *p, bool hurried) {
    int32_t status;
    if (hurried)
        ss_thread_hurry(p->thread);
    else
        do
            ss_thread_stop(p->thread);
        while (ss_instance_wait(p->instance, 5) != SLIPSTREAM_OK);
    REQUIRE(ss_instance_wait(p->instance, WAIT_MS) == SLIPSTREAM_OK);
    REQUIRE(ss_thread_state(p->thread, &status) == SS_THREAD_ENDED && status == SLIPSTREAM_OK);
    REQUIRE(ss_thread_late_ns(p->thread) == 0);
    finish_step(p, ss_instance_unload(p->instance, 1000));
    ss_thread_free(p->thread);
    finish_step(p, ss_instance_close(p->instance));
    ss_instance_free(p->instance);
    totals[3]++;
}

static void attach(place *p) {
    p->book = (ledger){.last = 0};
    p->paused = false;
    p->queue = ss_queue_new(RING, 0, p->overflow, 50);
    REQUIRE(p->queue != NULL);
    load(p, SLIPSTREAM_LOAD_START);
    REQUIRE(ss_sequencer_attach_queue(sequencer, p->queue,
                                     SLIPSTREAM_KIND_BIT(SLIPSTREAM_KIND_BLOCK), log_id, WAIT_MS,
                                     &p->slot) == SLIPSTREAM_OK);
}

static void set_paused(place *p, bool paused) {
    p->paused = paused;
    ss_queue_pause(p->queue, paused);
}

static void detach(place *p) {
    ss_stats stats;
    uint64_t ordinal = 0;
    size_t len;
    set_paused(p, false);
    REQUIRE(ss_sequencer_detach(sequencer, p->slot, WAIT_MS, &(ss_stats){0}, gap, &gap_len) == SLIPSTREAM_OK);
    unload(p, false);
    REQUIRE(ss_queue_leftover(p->queue, &ordinal, &len) == NULL);
    ss_queue_describe(p->queue, &stats);
    REQUIRE(stats.acknowledged == stats.accepted && p->book.last == stats.accepted);
    REQUIRE(stats.delivered == p->book.events && stats.lost == p->book.lost);
    REQUIRE(stats.dead == 0 && stats.accepted == stats.delivered + stats.lost);
    ss_queue_free(p->queue);
    totals[0] += p->book.events;
    totals[1] += p->book.lost;
    totals[2] += p->book.gaps;
}

static void flush(place *p) {
    ss_stats stats;
    ss_queue_describe(p->queue, &stats);
    uint32_t number = ss_queue_ask_flush(p->queue);
    const int32_t status = ss_queue_flushed(p->queue, &number, stats.accepted, 100);
    REQUIRE(status == SLIPSTREAM_OK || status == SLIPSTREAM_TIMEOUT);
}

static void control(void) {
    place *p = &places[random_below(PLUGINS)];
    switch (random_below(8)) {
    case 0:
        set_paused(p, true);
        break;
    case 1:
    case 2:
        set_paused(p, false);
        break;
    case 3:
        if (!p->paused)
            flush(p);
        break;
    case 4:
        unload(p, random_below(2) == 0);
        load(p, SLIPSTREAM_LOAD_RELOAD);
        REQUIRE(ss_sequencer_renew_queue(sequencer, p->slot,
                                        SLIPSTREAM_KIND_BIT(SLIPSTREAM_KIND_BLOCK), log_id, NULL, 0,
                                        WAIT_MS) == SLIPSTREAM_OK);
        break;
    case 5: /* thinks better of it */
        ss_thread_stop(p->thread);
        usleep((useconds_t)random_below(300));
        if (!ss_thread_go_on(p->thread)) {
            unload(p, false);
            load(p, SLIPSTREAM_LOAD_RELOAD);
        } else if (random_below(2) == 0) { /* and means it after all, at another boundary */
            detach(p);
            attach(p);
        }
        break;
    case 6:
        detach(p);
        attach(p);
        break;
    default:
        usleep((useconds_t)random_below(3000));
        break;
    }
    ss_log_line line;
    while (ss_log_queue_next(queue, &line)) {
    }
}

int main(int argc, char **argv) {
    REQUIRE(argc == 6);
    const uint64_t end = ss_os_now_ns() + strtoull(argv[1], NULL, 10) * 1000000000;
    pthread_t threads[SENDERS + 1];
    random_state ^= strtoull(argv[2], NULL, 10) * 0xC2B2AE3D27D4EB4F;
    queue = ss_log_queue_new(1 << 20);
    letters = ss_letters_new(queue);
    sequencer = ss_sequencer_new(queue, 77);
    places[0] = (place){.path = argv[3], .overflow = SS_OVERFLOW_BLOCK};
    places[1] = (place){.path = argv[4], .overflow = SS_OVERFLOW_DROP_NEWEST};
    places[2] = (place){.path = argv[5], .overflow = SS_OVERFLOW_DROP_OLDEST};
    places[3] = (place){.path = argv[4], .overflow = SS_OVERFLOW_BLOCK};
    for (int i = 0; i < PLUGINS; i++)
        attach(&places[i]);
    for (uintptr_t i = 0; i < SENDERS; i++)
        REQUIRE(pthread_create(&threads[i], NULL, send_blocks, (void *)(i + 1)) == 0);
    REQUIRE(pthread_create(&threads[SENDERS], NULL, ask, NULL) == 0);
    unsigned long rounds = 0;
    for (; ss_os_now_ns() < end; rounds++)
        control();
    atomic_store(&stop, true);
    for (int i = 0; i <= SENDERS; i++)
        REQUIRE(pthread_join(threads[i], NULL) == 0);
    for (int i = 0; i < PLUGINS; i++)
        detach(&places[i]);
    REQUIRE(ss_sequencer_close(sequencer, WAIT_MS) == SLIPSTREAM_OK);
    ss_sequencer_release(sequencer);
    ss_letters_free(letters);
    ss_log_queue_release(queue);
    REQUIRE(totals[0] > 0);
    printf("threads: %llu events, %llu lost in %llu gaps, %llu generations, %lu rounds\n",
           (unsigned long long)totals[0], (unsigned long long)totals[1],
           (unsigned long long)totals[2], (unsigned long long)totals[3], rounds);
    return 0;
}
