/* Keeps the delivery itself, which is the host's until on_broadcast returns, and looks at it at
 * the next event. */
#include <slipstream.h>
#include <stdio.h>

static const slipstream_delivery *last;

static int32_t on_broadcast(void *unused, const slipstream_delivery *delivery,
                            const uint8_t *frames, size_t len) {
    (void)unused, (void)frames, (void)len;
    if (last != NULL)
        printf("after %llu\n", (unsigned long long)last->first_ordinal);
    last = delivery;
    return SLIPSTREAM_OK;
}

static uint64_t subscribed_events(void *unused) {
    (void)unused;
    return SLIPSTREAM_KIND_BIT(SLIPSTREAM_KIND_BLOCK);
}

static void destroy(void *unused) { (void)unused; }

const slipstream_plugin *slipstream_create_plugin_v1(const slipstream_host *host) {
    static const slipstream_plugin table = {
        .struct_size = sizeof table, .abi_minor = SLIPSTREAM_ABI_MINOR, .name = "keeps-delivery",
        .version = "1", .destroy = destroy, .subscribed_events = subscribed_events,
        .on_broadcast = on_broadcast};
    (void)host;
    return &table;
}
