/* Takes events of a host that is exactly as large as the one that it knows, and of no newer one. */
#include <slipstream.h>

static size_t host_size;

static int32_t on_broadcast(void *unused, const slipstream_delivery *delivery,
                            const uint8_t *frames, size_t len) {
    (void)unused, (void)delivery, (void)frames, (void)len;
    return host_size > sizeof(slipstream_host) ? SLIPSTREAM_FAILED : SLIPSTREAM_OK;
}

static uint64_t subscribed_events(void *unused) {
    (void)unused;
    return SLIPSTREAM_KIND_BIT(SLIPSTREAM_KIND_BLOCK);
}

static void destroy(void *unused) { (void)unused; }

const slipstream_plugin *slipstream_create_plugin_v1(const slipstream_host *host) {
    static const slipstream_plugin table = {
        .struct_size = sizeof table, .abi_minor = SLIPSTREAM_ABI_MINOR, .name = "old-friend",
        .version = "1", .destroy = destroy, .subscribed_events = subscribed_events,
        .on_broadcast = on_broadcast};
    host_size = host->struct_size;
    return &table;
}
