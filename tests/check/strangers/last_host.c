/* Several instances, one host: the last one's. */
#include <slipstream.h>
#include <stdlib.h>
SLIPSTREAM_INFO({"name": "last-host", "version": "1.0", "abi": 1, "kinds": ["BLOCK"], "flags": ["MULTI_INSTANCE", "PROMPT"]});
static const slipstream_host *host;
static uint64_t subscribed(void *i) { (void)i; return SLIPSTREAM_KIND_BIT(SLIPSTREAM_KIND_BLOCK); }
static int32_t take(void *i, const slipstream_delivery *d, const uint8_t *p, size_t len) {
    slipstream_frame f;
    slipstream_block b;
    (void)i; (void)d;
    if (slipstream_read_frame(p, len, &f) != SLIPSTREAM_OK)
        return slipstream_fail(host, SLIPSTREAM_MALFORMED, "bad frame");
    if (f.kind != SLIPSTREAM_KIND_BLOCK)
        return SLIPSTREAM_IGNORED;
    if (slipstream_read_block(&f, &b) != SLIPSTREAM_OK)
        return slipstream_fail(host, SLIPSTREAM_MALFORMED, "bad block");
    slipstream_log(host, SLIPSTREAM_LOG_DEBUG, "a block");
    return SLIPSTREAM_OK;
}
const slipstream_plugin *slipstream_create_plugin_v1(const slipstream_host *given) {
    slipstream_plugin *table = malloc(sizeof *table);
    if (table == NULL) return NULL;
    const slipstream_plugin t = {SLIPSTREAM_PLUGIN_HEAD, SLIPSTREAM_FLAG_MULTI_INSTANCE | SLIPSTREAM_FLAG_PROMPT, table, "last-host", "1.0",
                                 free, NULL, NULL, subscribed, take, NULL, NULL};
    *table = t;
    host = given;
    return table;
}
