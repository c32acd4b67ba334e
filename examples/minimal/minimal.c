#include <slipstream.h>
#include <stdlib.h>

SLIPSTREAM_INFO({"name": "minimal", "version": "1.0.0", "abi": 1, "kinds": ["BLOCK"],
                 "flags": ["PROMPT", "MULTI_INSTANCE"]});

typedef struct minimal {
    slipstream_plugin table;
    const slipstream_host *host;
} minimal;

static uint64_t SLIPSTREAM_CALL subscribed_events(void *instance) {
    (void)instance;
    return SLIPSTREAM_KIND_BIT(SLIPSTREAM_KIND_BLOCK);
}

static int32_t SLIPSTREAM_CALL on_broadcast(void *instance, const slipstream_delivery *delivery,
                                            const uint8_t *frames, size_t len) {
    const minimal *self = (const minimal *)instance;
    slipstream_frame frame;
    (void)delivery;
    if (slipstream_read_frame(frames, len, &frame) != SLIPSTREAM_OK)
        return slipstream_fail(self->host, SLIPSTREAM_MALFORMED, "unreadable frame");
    if (frame.kind != SLIPSTREAM_KIND_BLOCK)
        return SLIPSTREAM_IGNORED;
    slipstream_log(self->host, SLIPSTREAM_LOG_DEBUG, "a block");
    return SLIPSTREAM_OK;
}

const slipstream_plugin *SLIPSTREAM_CALL slipstream_create_plugin_v1(const slipstream_host *host) {
    const uint32_t flags = SLIPSTREAM_FLAG_PROMPT | SLIPSTREAM_FLAG_MULTI_INSTANCE;
    minimal *self = (minimal *)malloc(sizeof *self);
    const slipstream_plugin table = {SLIPSTREAM_PLUGIN_HEAD, flags, self, "minimal", "1.0.0", free,
                                     NULL, NULL, subscribed_events, on_broadcast, NULL, NULL};
    if (self == NULL)
        return NULL;
    self->table = table;
    self->host = host;
    return &self->table;
}
