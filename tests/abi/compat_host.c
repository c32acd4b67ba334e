/* compat_host: the host's half of an old-with-new pair. It obeys the reader's duty: read
 * struct_size first, take the smaller of both sizes, ask before using a newer field.
 * ADDED says that the header is the one with a further field in every table. */
#define _GNU_SOURCE
#include <slipstream.h>

#include "guard.h"
#include <stdio.h>

#define REQUIRE(condition)                                                                \
    do {                                                                                  \
        if (!(condition)) {                                                               \
            fprintf(stderr, "host, line %d: %s does not hold\n", __LINE__, #condition);   \
            exit(1);                                                                      \
        }                                                                                 \
    } while (0)

/* What the plugin did with the newer fields; it has no other way to say so. */
enum { USED_HOST = 1, USED_CONFIG = 2, USED_METRICS = 4, SAW_DELIVERY = 8 };
static unsigned used;
static const void *config;
static const void *metrics;

static int32_t SLIPSTREAM_CALL log_enabled(void *ctx, uint32_t level) {
    REQUIRE(ctx == &used);
    return level >= SLIPSTREAM_LOG_INFO;
}

static void SLIPSTREAM_CALL log_line(void *ctx, uint32_t level, const char *text, size_t len) {
    REQUIRE(ctx == &used && level == SLIPSTREAM_LOG_INFO);
    if (len == 8 && memcmp(text, "delivery", 8) == 0)
        used |= SAW_DELIVERY;
}

static void SLIPSTREAM_CALL set_error(void *ctx, const char *text, size_t len) {
    REQUIRE(ctx == &used);
    fprintf(stderr, "plugin: %.*s\n", (int)len, text);
}

static int32_t SLIPSTREAM_CALL ack(void *ctx, uint64_t ordinal) {
    REQUIRE(ctx == &used);
    return ordinal == 7 ? SLIPSTREAM_OK : SLIPSTREAM_INVALID_ARGUMENT;
}

static int32_t SLIPSTREAM_CALL is_stopping(void *ctx) {
    return ctx != &used;
}

static const void *SLIPSTREAM_CALL get_extension(void *ctx, const char *id) {
    REQUIRE(ctx == &used);
    if (strcmp(id, SLIPSTREAM_EXT_CONFIG) == 0)
        return config;
    return strcmp(id, SLIPSTREAM_EXT_METRICS) == 0 ? metrics : NULL;
}

static int32_t SLIPSTREAM_CALL data_dir(void *ctx, char *buffer, size_t *len) {
    REQUIRE(ctx == &used && *len >= 1);
    buffer[0] = '/';
    *len = 1;
    return SLIPSTREAM_OK;
}

static int32_t SLIPSTREAM_CALL gauge_set(void *ctx, const char *name, const char *label,
                                         double value) {
    REQUIRE(ctx == &used && strcmp(name, "depth") == 0 && label == NULL && value > 0.4);
    return SLIPSTREAM_OK;
}

#ifdef ADDED
static int32_t SLIPSTREAM_CALL host_added(void *ctx) {
    REQUIRE(ctx == &used);
    used |= USED_HOST;
    return SLIPSTREAM_OK;
}

static int32_t SLIPSTREAM_CALL config_added(void *ctx) {
    REQUIRE(ctx == &used);
    used |= USED_CONFIG;
    return SLIPSTREAM_OK;
}

static int32_t SLIPSTREAM_CALL metrics_added(void *ctx) {
    REQUIRE(ctx == &used);
    used |= USED_METRICS;
    return SLIPSTREAM_OK;
}
#endif

static const slipstream_host *make_tables(void) {
    slipstream_host host;
    slipstream_config_v1 own_config;
    slipstream_metrics_v1 own_metrics;
    memset(&host, 0, sizeof host);
    memset(&own_config, 0, sizeof own_config);
    memset(&own_metrics, 0, sizeof own_metrics);
    host.struct_size = sizeof host;
    host.abi_minor = SLIPSTREAM_ABI_MINOR;
    host.ctx = &used;
    host.name = "compat";
    host.version = "1.0.0";
    host.log_enabled = log_enabled;
    host.log = log_line;
    host.set_error = set_error;
    host.ack = ack;
    host.is_stopping = is_stopping;
    host.get_extension = get_extension;
    own_config.struct_size = sizeof own_config;
    own_config.data_dir = data_dir;
    own_metrics.struct_size = sizeof own_metrics;
    own_metrics.gauge_set = gauge_set;
#ifdef ADDED
    host.added = host_added;
    own_config.added = config_added;
    own_metrics.added = metrics_added;
#endif
    config = guarded_copy(&own_config, sizeof own_config);
    metrics = guarded_copy(&own_metrics, sizeof own_metrics);
    return (const slipstream_host *)guarded_copy(&host, sizeof host);
}

/* The plugin's table, copied as the contract says; what it does not have is NULL. */
static slipstream_plugin copy_table(const slipstream_plugin *given) {
    slipstream_plugin table;
    const size_t size = given->struct_size;
    memset(&table, 0, sizeof table);
    memcpy(&table, given, size < sizeof table ? size : sizeof table);
    REQUIRE(table.min_host_minor <= SLIPSTREAM_ABI_MINOR);
    return table;
}

static int use_added(const slipstream_plugin *plugin, const slipstream_payload_v1 *payload,
                     int *payload_used) {
#ifdef ADDED
    *payload_used = SLIPSTREAM_HAS(slipstream_payload_v1, payload, added) &&
                    payload->added != NULL && payload->added(plugin->instance) == 11;
    return SLIPSTREAM_HAS(slipstream_plugin, plugin, added) && plugin->added != NULL &&
           plugin->added(plugin->instance) == 10;
#else
    (void)plugin;
    (void)payload;
    *payload_used = 0;
    return 0;
#endif
}

int main(void) {
    static const uint8_t frame[48] = {48, 0, 0, 0, 48, 0, 32, 0}; /* a header alone */
    const slipstream_host *host = make_tables();
    const slipstream_plugin *given = slipstream_create_plugin_v1(host);
    const slipstream_payload_v1 *payload;
    slipstream_delivery delivery;
    slipstream_plugin plugin;
    int plugin_used;
    int payload_used;
    REQUIRE(given != NULL);
    plugin = copy_table(given);
    REQUIRE(strcmp(plugin.name, "compat") == 0 && strcmp(plugin.version, "1.0.0") == 0);
    REQUIRE(plugin.on_load(plugin.instance, "{}", 2, SLIPSTREAM_LOAD_START) == SLIPSTREAM_OK);
    REQUIRE(plugin.subscribed_events(plugin.instance) == SLIPSTREAM_KIND_BIT(32));
    payload = (const slipstream_payload_v1 *)plugin.get_extension(plugin.instance,
                                                                  SLIPSTREAM_EXT_PAYLOAD);
    REQUIRE(payload != NULL && strcmp(payload->name_at(plugin.instance, 0), "demo") == 0);
    REQUIRE(payload->name_at(plugin.instance, 1) == NULL);
    plugin_used = use_added(&plugin, payload, &payload_used);

    memset(&delivery, 0, sizeof delivery);
    delivery.struct_size = sizeof delivery;
    delivery.attempt = 1;
    delivery.count = 1;
    delivery.first_ordinal = 7;
#ifdef ADDED
    delivery.added = 77;
#endif
    REQUIRE(plugin.on_broadcast(
                plugin.instance,
                (const slipstream_delivery *)guarded_copy(&delivery, sizeof delivery),
                (const uint8_t *)guarded_copy(frame, sizeof frame), sizeof frame) == SLIPSTREAM_OK);
    REQUIRE(plugin.flush(plugin.instance, 1000) == SLIPSTREAM_OK);
    REQUIRE(plugin.on_unload(plugin.instance, 1000) == SLIPSTREAM_OK);
    plugin.destroy(plugin.instance);
    printf("host-used-plugin-added=%d\nhost-used-payload-added=%d\n", plugin_used, payload_used);
    printf("plugin-used-host-added=%d\n", (used & USED_HOST) != 0);
    printf("plugin-used-config-added=%d\n", (used & USED_CONFIG) != 0);
    printf("plugin-used-metrics-added=%d\n", (used & USED_METRICS) != 0);
    printf("plugin-saw-delivery-added=%d\n", (used & SAW_DELIVERY) != 0);
    return 0;
}
