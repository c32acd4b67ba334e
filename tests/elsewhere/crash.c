/* Writes where nothing is at block 13, each time that it comes. */
#include <slipstream.h>
#include <stdlib.h>

typedef struct crash {
    slipstream_plugin table;
} crash;

static int32_t SLIPSTREAM_CALL on_load(void *instance, const char *config, size_t len,
                                       uint32_t reason) {
    (void)instance, (void)config, (void)len, (void)reason;
    return SLIPSTREAM_OK;
}

static uint64_t SLIPSTREAM_CALL subscribed_events(void *instance) {
    (void)instance;
    return SLIPSTREAM_KIND_BIT(SLIPSTREAM_KIND_BLOCK);
}

__attribute__((noinline)) static void where_it_falls(uintptr_t at) {
    *(volatile int *)at = 1;
}

static int32_t SLIPSTREAM_CALL on_broadcast(void *instance, const slipstream_delivery *delivery,
                                            const uint8_t *frames, size_t len) {
    slipstream_frame frame;
    (void)instance, (void)delivery;
    if (slipstream_read_frame(frames, len, &frame) != SLIPSTREAM_OK)
        return SLIPSTREAM_MALFORMED;
    if (frame.kind == SLIPSTREAM_KIND_BLOCK && frame.height == 13)
        where_it_falls(16);
    return SLIPSTREAM_OK;
}

const slipstream_plugin *SLIPSTREAM_CALL slipstream_create_plugin_v1(const slipstream_host *host) {
    crash *self = (crash *)calloc(1, sizeof *self);
    const slipstream_plugin table = {
        SLIPSTREAM_PLUGIN_HEAD, 0, self, "crash", "1", free, on_load, NULL,
        subscribed_events, on_broadcast, NULL, NULL};
    (void)host;
    if (self == NULL)
        return NULL;
    self->table = table;
    return &self->table;
}
