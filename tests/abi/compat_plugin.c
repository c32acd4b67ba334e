/* compat_plugin: the plugin's half of an old-with-new pair; see compat_host.c.
 * CARELESS leaves out the question whether the host's table is large enough. */
#define _GNU_SOURCE
#include <slipstream.h>

#include "guard.h"

#ifdef CARELESS
#define HAS(type, pointer, field) ((void)(pointer), 1)
#else
#define HAS SLIPSTREAM_HAS
#endif

static const slipstream_host *host;
static const void *payload;

static void SLIPSTREAM_CALL destroy(void *instance) {
    *(int *)instance = 0;
}

static int32_t SLIPSTREAM_CALL on_load(void *instance, const char *text, size_t len,
                                       uint32_t reason) {
    const slipstream_config_v1 *config =
        (const slipstream_config_v1 *)slipstream_extension(host, SLIPSTREAM_EXT_CONFIG);
    const slipstream_metrics_v1 *metrics =
        (const slipstream_metrics_v1 *)slipstream_extension(host, SLIPSTREAM_EXT_METRICS);
    char folder[1];
    size_t folder_len = sizeof folder;
    (void)instance;
    if (len != 2 || memcmp(text, "{}", 2) != 0 || reason != SLIPSTREAM_LOAD_START)
        return slipstream_fail(host, SLIPSTREAM_INVALID_CONFIG, "another config than given");
    if (slipstream_extension(host, "slipstream.nothing/1") != NULL)
        return slipstream_fail(host, SLIPSTREAM_FAILED, "an extension that nobody knows");
    if (config->data_dir(host->ctx, folder, &folder_len) != SLIPSTREAM_OK || folder_len != 1)
        return slipstream_fail(host, SLIPSTREAM_FAILED, "data_dir");
    if (metrics->gauge_set(host->ctx, "depth", NULL, 0.5) != SLIPSTREAM_OK)
        return slipstream_fail(host, SLIPSTREAM_FAILED, "gauge_set");
#ifdef ADDED
    if (HAS(slipstream_host, host, added))
        host->added(host->ctx);
    if (HAS(slipstream_config_v1, config, added))
        config->added(host->ctx);
    if (HAS(slipstream_metrics_v1, metrics, added))
        metrics->added(host->ctx);
#endif
    return SLIPSTREAM_OK;
}

static int32_t SLIPSTREAM_CALL on_unload(void *instance, uint32_t timeout_ms) {
    return *(int *)instance == 10 && timeout_ms == 1000 ? SLIPSTREAM_OK : SLIPSTREAM_FAILED;
}

static uint64_t SLIPSTREAM_CALL subscribed_events(void *instance) {
    (void)instance;
    return SLIPSTREAM_KIND_BIT(32);
}

static int32_t SLIPSTREAM_CALL on_broadcast(void *instance, const slipstream_delivery *delivery,
                                            const uint8_t *frames, size_t len) {
    slipstream_frame frame;
    (void)instance;
    if (delivery->attempt != 1 || delivery->count != 1)
        return slipstream_fail(host, SLIPSTREAM_FAILED, "another delivery than given");
    if (slipstream_read_frame(frames, len, &frame) != SLIPSTREAM_OK || frame.kind != 32)
        return slipstream_fail(host, SLIPSTREAM_MALFORMED, "another frame than given");
#ifdef ADDED
    if (HAS(slipstream_delivery, delivery, added) && delivery->added == 77)
        slipstream_log(host, SLIPSTREAM_LOG_INFO, "delivery");
#endif
    return slipstream_ack(host, delivery->first_ordinal);
}

static int32_t SLIPSTREAM_CALL flush(void *instance, uint32_t timeout_ms) {
    return on_unload(instance, timeout_ms);
}

static const void *SLIPSTREAM_CALL get_extension(void *instance, const char *id) {
    (void)instance;
    return strcmp(id, SLIPSTREAM_EXT_PAYLOAD) == 0 ? payload : NULL;
}

static const char *SLIPSTREAM_CALL name_at(void *instance, uint32_t index) {
    (void)instance;
    return index == 0 ? "demo" : NULL;
}

#ifdef ADDED
static int32_t SLIPSTREAM_CALL plugin_added(void *instance) {
    return *(int *)instance;
}

static int32_t SLIPSTREAM_CALL payload_added(void *instance) {
    return *(int *)instance + 1;
}
#endif

const slipstream_plugin *SLIPSTREAM_CALL slipstream_create_plugin_v1(const slipstream_host *given) {
    static int instance = 10;
    slipstream_payload_v1 names;
    slipstream_plugin table;
    memset(&names, 0, sizeof names);
    memset(&table, 0, sizeof table);
    names.struct_size = sizeof names;
    names.name_at = name_at;
    table.struct_size = sizeof table;
    table.abi_minor = SLIPSTREAM_ABI_MINOR;
    table.instance = &instance;
    table.name = "compat";
    table.version = "1.0.0";
    table.destroy = destroy;
    table.on_load = on_load;
    table.on_unload = on_unload;
    table.subscribed_events = subscribed_events;
    table.on_broadcast = on_broadcast;
    table.flush = flush;
    table.get_extension = get_extension;
#ifdef ADDED
    table.added = plugin_added;
    names.added = payload_added;
#endif
    host = given;
    payload = guarded_copy(&names, sizeof names);
    return (const slipstream_plugin *)guarded_copy(&table, sizeof table);
}
