/* A plugin that does nothing, for measuring everything around it. `NOOP_FLAGS` are its
 * flags. */
#include <slipstream.h>
#include <stdlib.h>

static uint64_t SLIPSTREAM_CALL subscribed_events(void *instance) {
    (void)instance;
    return SLIPSTREAM_KIND_BIT(SLIPSTREAM_KIND_MAPPING_UPDATE);
}

static int32_t SLIPSTREAM_CALL on_broadcast(void *instance, const slipstream_delivery *delivery,
                                            const uint8_t *frames, size_t len) {
    (void)instance;
    (void)delivery;
    (void)frames;
    (void)len;
    return SLIPSTREAM_OK;
}

static void SLIPSTREAM_CALL destroy(void *instance) {
    (void)instance;
}

const slipstream_plugin *SLIPSTREAM_CALL slipstream_create_plugin_v1(const slipstream_host *host) {
    static slipstream_plugin table;
    (void)host;
    table.struct_size = sizeof table;
    table.flags = NOOP_FLAGS;
    table.name = "noop";
    table.version = "1";
    table.destroy = destroy;
    table.subscribed_events = subscribed_events;
    table.on_broadcast = on_broadcast;
    return &table;
}
