/* The sequencer with four broadcasting threads, while slots come, go, pause and are asked
 * for their numbers. Argument: calls of each thread. */
#include "check.h"
#include "sequencer/sequencer.h"

#include <stdatomic.h>
#include <string.h>
#include <unistd.h>

static char gap[SS_GAP_LEN];
static size_t gap_len;

enum { SENDERS = 4, PER_CALL = 20, WAIT_MS = 240000 };

typedef struct witness {
    uint64_t ordinal;  /* the last one seen; written under the sequencer */
    uint64_t sequence;
    uint64_t events;
    uint64_t gaps;
    uint64_t lost;
    atomic_uint inside;
    int32_t answer;
} witness;

static ss_sequencer *sequencer;
static unsigned long calls;
static atomic_int running;

static int32_t watch(void *context, const slipstream_delivery *delivery, const uint8_t *frames,
                     size_t len) {
    witness *w = context;
    slipstream_frame frame;
    slipstream_gap gap;
    REQUIRE(atomic_fetch_add(&w->inside, 1) == 0);
    REQUIRE(delivery->count == 1 && delivery->attempt == 1);
    REQUIRE(slipstream_read_frame(frames, len, &frame) == SLIPSTREAM_OK && frame.whole.len == len);
    if (slipstream_read_gap(&frame, &gap) == SLIPSTREAM_OK) {
        REQUIRE(gap.first == w->ordinal + 1 && gap.last == delivery->first_ordinal);
        REQUIRE(gap.count == gap.last - gap.first + 1);
        w->gaps++;
        w->lost += gap.count;
    } else {
        REQUIRE(delivery->first_ordinal == w->ordinal + 1);
        REQUIRE(frame.stream == 77 && frame.sequence > w->sequence && frame.time_ns > 0);
        w->sequence = frame.sequence;
        w->events++;
    }
    w->ordinal = delivery->first_ordinal;
    atomic_fetch_sub(&w->inside, 1);
    return w->answer;
}

static size_t write_block(uint8_t *out, uint64_t height) {
    const ss_draft draft = {.kind = SLIPSTREAM_KIND_BLOCK,
                            .height = height,
                            .spans = {{(const uint8_t *)"block", 5}}};
    const size_t size = ss_frame_size(&draft);
    ss_frame_write(out, size, &draft);
    return size;
}

static void *send_blocks(void *argument) {
    uint8_t run[PER_CALL * 128];
    ss_sent sent;
    (void)argument;
    for (unsigned long i = 0; i < calls; i++) {
        size_t len = 0;
        for (unsigned k = 0; k < PER_CALL; k++)
            len += write_block(run + len, i);
        REQUIRE(ss_sequencer_send(sequencer, run, len, &sent) == SLIPSTREAM_OK);
        REQUIRE(sent.index == PER_CALL && sent.offset == len);
        REQUIRE(ss_sequencer_mapping_update(sequencer, run, 5, run, 5, run, 5, run, 5, i) ==
                SLIPSTREAM_OK);
    }
    atomic_fetch_sub(&running, 1);
    return NULL;
}

static void *ask(void *argument) {
    const uint32_t *slots = argument;
    ss_stats stats;
    while (atomic_load(&running) > 0) {
        REQUIRE(ss_sequencer_stats(sequencer, slots[0], &stats) == SLIPSTREAM_OK);
        REQUIRE(stats.acknowledged <= stats.accepted);
        ss_sequencer_stats(sequencer, 1 + (uint32_t)random_below(50), &stats);
        ss_sequencer_busy_slot(sequencer);
        REQUIRE(ss_sequencer_kinds(sequencer) != 0);
    }
    return NULL;
}

static uint32_t attach(witness *w, uint64_t kinds) {
    uint32_t slot;
    REQUIRE(ss_sequencer_attach_function(sequencer, kinds, w, 1, watch, WAIT_MS, &slot) ==
            SLIPSTREAM_OK);
    return slot;
}

int main(int argc, char **argv) {
    const uint64_t blocks = SLIPSTREAM_KIND_BIT(SLIPSTREAM_KIND_BLOCK);
    const uint64_t both = blocks | SLIPSTREAM_KIND_BIT(SLIPSTREAM_KIND_MAPPING_UPDATE);
    static witness steady;
    static witness paused;
    pthread_t threads[SENDERS];
    pthread_t asker;
    uint32_t slots[2];
    ss_stats stats;
    ss_log_queue *log = ss_log_queue_new(1 << 20);
    ss_log_line line;
    unsigned long rounds = 0;
    calls = argc > 1 ? strtoul(argv[1], NULL, 10) : 3000;
    sequencer = ss_sequencer_new(log, 77);
    slots[0] = attach(&steady, both);
    slots[1] = attach(&paused, blocks);
    paused.answer = SLIPSTREAM_IGNORED;
    /* One gap and some events for certain; the rest depends on who is quicker. */
    atomic_store(&running, 2);
    const unsigned long many = calls;
    calls = 1;
    REQUIRE(ss_sequencer_set_state(sequencer, slots[1], SS_SLOT_PAUSED, WAIT_MS) == SLIPSTREAM_OK);
    send_blocks(NULL);
    REQUIRE(ss_sequencer_set_state(sequencer, slots[1], SS_SLOT_RUNNING, WAIT_MS) == SLIPSTREAM_OK);
    send_blocks(NULL);
    REQUIRE(paused.gaps == 1 && paused.lost == PER_CALL && paused.events == PER_CALL);
    calls = many;
    atomic_store(&running, SENDERS);
    for (unsigned i = 0; i < SENDERS; i++)
        REQUIRE(pthread_create(&threads[i], NULL, send_blocks, NULL) == 0);
    REQUIRE(pthread_create(&asker, NULL, ask, slots) == 0);
    for (; atomic_load(&running) > 0; rounds++) {
        witness guest = {.answer = SLIPSTREAM_OK};
        REQUIRE(ss_sequencer_set_state(sequencer, slots[1], SS_SLOT_PAUSED, WAIT_MS) ==
                SLIPSTREAM_OK);
        usleep(100); /* some events for a gap */
        const uint32_t slot = attach(&guest, both);
        REQUIRE(ss_sequencer_set_state(sequencer, slots[1], SS_SLOT_RUNNING, WAIT_MS) ==
                SLIPSTREAM_OK);
        REQUIRE(ss_sequencer_hold(sequencer, slot, WAIT_MS) == SLIPSTREAM_OK);
        REQUIRE(ss_sequencer_inside(sequencer) &&
                ss_sequencer_busy_slot(sequencer) == (int32_t)slot);
        ss_sequencer_unhold(sequencer, false);
        REQUIRE(ss_sequencer_detach(sequencer, slot, WAIT_MS, &(ss_stats){0}, gap, &gap_len) == SLIPSTREAM_OK);
        REQUIRE(ss_sequencer_detach(sequencer, slot, WAIT_MS, &(ss_stats){0}, gap, &gap_len) ==
                SLIPSTREAM_NOT_FOUND);
        REQUIRE(atomic_load(&guest.inside) == 0); /* and its memory is gone now */
    }
    for (unsigned i = 0; i < SENDERS; i++)
        pthread_join(threads[i], NULL);
    pthread_join(asker, NULL);
    const uint64_t sent = (uint64_t)SENDERS * calls + 2;
    const uint64_t total = sent * PER_CALL;
    REQUIRE(steady.events == total + sent && steady.gaps == 0);
    REQUIRE(steady.ordinal == steady.events && steady.sequence == steady.events);
    REQUIRE(ss_sequencer_set_state(sequencer, slots[1], SS_SLOT_RUNNING, WAIT_MS) == SLIPSTREAM_OK);
    REQUIRE(paused.events + paused.lost == total && paused.ordinal == total);
    REQUIRE(ss_sequencer_stats(sequencer, slots[1], &stats) == SLIPSTREAM_OK);
    REQUIRE(stats.accepted == total && stats.acknowledged == total);
    REQUIRE(stats.delivered == paused.events && stats.lost == paused.lost);
    REQUIRE(ss_sequencer_close(sequencer, WAIT_MS) == SLIPSTREAM_OK);
    REQUIRE(ss_sequencer_send(sequencer, (const uint8_t *)"", 0, &(ss_sent){0, 0}) ==
            SLIPSTREAM_WRONG_STATE);
    ss_sequencer_release(sequencer);
    while (ss_log_queue_next(log, &line)) {
    }
    ss_log_queue_release(log);
    printf("sequencer: %llu events of %d threads, %lu rounds of slots, %llu gaps\n",
           (unsigned long long)total, SENDERS, rounds, (unsigned long long)paused.gaps);
    return 0;
}
