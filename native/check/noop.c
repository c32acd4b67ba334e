/* noop: a plugin that takes every event and does nothing, beside which `slipstream bench` measures. */
#include <slipstream.h>

#include <stdlib.h>

static uint64_t SLIPSTREAM_CALL subscribed_events(void *instance) {
    (void)instance;
    return UINT64_MAX;
}

static int32_t SLIPSTREAM_CALL on_broadcast(void *instance, const slipstream_delivery *delivery,
                                            const uint8_t *frames, size_t len) {
    (void)instance, (void)delivery, (void)frames, (void)len;
    return SLIPSTREAM_OK;
}

const slipstream_plugin *SLIPSTREAM_CALL slipstream_create_plugin_v1(const slipstream_host *host) {
    const uint32_t flags = SLIPSTREAM_FLAG_MULTI_INSTANCE | SLIPSTREAM_FLAG_PROMPT;
    slipstream_plugin *table = malloc(sizeof *table);
    (void)host;
    if (table == NULL)
        return NULL;
    *table = (slipstream_plugin){SLIPSTREAM_PLUGIN_HEAD,
                                 flags,
                                 table,
                                 "noop",
                                 "1.0.0",
                                 free,
                                 NULL,
                                 NULL,
                                 subscribed_events,
                                 on_broadcast,
                                 NULL,
                                 NULL};
    return table;
}
