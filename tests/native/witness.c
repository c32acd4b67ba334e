/* witness: a plugin for test_threads.c. It checks every event against the ledger of its slot,
 * whose address stands in its config. With EXPLICIT_ACK another thread acknowledges what was
 * seen, at any time. Compiled with -DFLAGS. */
#include "witness.h"

#include <pthread.h>
#include <slipstream.h>
#include <stdbool.h>

typedef struct witness {
    slipstream_plugin table;
    const slipstream_host *host;
    ledger *book;
    pthread_t acker;
    _Atomic uint64_t seen;
    atomic_bool stop;
} witness;

static void *acknowledge(void *context) {
    witness *self = context;
    const struct timespec nap = {0, 20000};
    while (!atomic_load(&self->stop)) {
        const uint64_t seen = atomic_load(&self->seen);
        REQUIRE(seen == 0 || slipstream_ack(self->host, seen) == SLIPSTREAM_OK);
        nanosleep(&nap, NULL);
    }
    return NULL;
}

static int32_t on_load(void *instance, const char *json, size_t len, uint32_t reason) {
    witness *self = instance;
    uint64_t address = 0;
    const slipstream_config_v1 *config = slipstream_extension(self->host, SLIPSTREAM_EXT_CONFIG);
    (void)json;
    (void)len;
    (void)reason;
    REQUIRE(config->get_u64(self->host->ctx, "/ledger", &address) == SLIPSTREAM_OK);
    self->book = (ledger *)(uintptr_t)address; /* NOLINT: that is what it is */
    REQUIRE(atomic_fetch_add(&self->book->loaded, 1) == 0);
    if ((FLAGS & SLIPSTREAM_FLAG_EXPLICIT_ACK) != 0)
        REQUIRE(pthread_create(&self->acker, NULL, acknowledge, self) == 0);
    return SLIPSTREAM_OK;
}

static int32_t on_unload(void *instance, uint32_t timeout_ms) {
    witness *self = instance;
    (void)timeout_ms;
    atomic_store(&self->stop, true);
    if ((FLAGS & SLIPSTREAM_FLAG_EXPLICIT_ACK) != 0)
        REQUIRE(pthread_join(self->acker, NULL) == 0);
    REQUIRE(atomic_fetch_sub(&self->book->loaded, 1) == 1);
    return SLIPSTREAM_OK;
}

static void destroy(void *instance) {
    free(instance);
}

static uint64_t subscribed_events(void *instance) {
    (void)instance;
    return SLIPSTREAM_KIND_BIT(SLIPSTREAM_KIND_BLOCK);
}

static void check_gap(ledger *book, const slipstream_delivery *delivery,
                      const slipstream_gap *gap) {
    REQUIRE(delivery->count == 1 && gap->first == book->last + 1);
    REQUIRE(gap->last == delivery->first_ordinal && gap->count == gap->last - gap->first + 1);
    REQUIRE(gap->kinds == SLIPSTREAM_KIND_BIT(SLIPSTREAM_KIND_BLOCK) && gap->reasons != 0);
    book->lost += gap->count;
    book->gaps++;
    book->last = gap->last;
}

static void check_block(ledger *book, const slipstream_frame *frame, uint64_t ordinal) {
    slipstream_block block;
    REQUIRE(ordinal == book->last + 1);
    REQUIRE(slipstream_read_block(frame, &block) == SLIPSTREAM_OK);
    REQUIRE(frame->sequence > book->sequence);
    for (size_t i = 0; i < block.block.len; i++)
        REQUIRE(block.block.data[i] == (uint8_t)(frame->height + i));
    book->sequence = frame->sequence;
    book->last = ordinal;
    book->events++;
}

static int32_t on_broadcast(void *instance, const slipstream_delivery *delivery,
                            const uint8_t *frames, size_t len) {
    witness *self = instance;
    ledger *book = self->book;
    slipstream_frame frame;
    slipstream_gap gap;
    size_t offset = 0;
    uint64_t ordinal = delivery->first_ordinal;
    REQUIRE(atomic_fetch_add(&book->inside, 1) == 0 && delivery->attempt == 1);
    for (; slipstream_next_frame(frames, len, &offset, &frame) == SLIPSTREAM_OK; ordinal++)
        if (slipstream_read_gap(&frame, &gap) == SLIPSTREAM_OK)
            check_gap(book, delivery, &gap);
        else
            check_block(book, &frame, ordinal);
    REQUIRE(offset == len && ordinal == delivery->first_ordinal + delivery->count);
    if (book->last % 512 == 0) { /* slow now and then */
        const struct timespec nap = {0, 300000};
        nanosleep(&nap, NULL);
    }
    atomic_store(&self->seen, book->last);
    atomic_fetch_sub(&book->inside, 1);
    return SLIPSTREAM_OK;
}

static int32_t flush(void *instance, uint32_t timeout_ms) {
    (void)instance;
    (void)timeout_ms;
    return SLIPSTREAM_OK;
}

const slipstream_plugin *slipstream_create_plugin_v1(const slipstream_host *host) {
    witness *self = calloc(1, sizeof *self);
    const slipstream_plugin table = {sizeof table, SLIPSTREAM_ABI_MINOR, 0,
                                     FLAGS | SLIPSTREAM_FLAG_MULTI_INSTANCE, self,
                                     "witness", "1", destroy, on_load, on_unload,
                                     subscribed_events, on_broadcast, flush, NULL};
    if (self == NULL)
        return NULL;
    self->table = table;
    self->host = host;
    return &self->table;
}
