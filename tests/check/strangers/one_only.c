/* One at a time, with a static table, and frames taken apart by hand. */
#include <slipstream.h>
#include <string.h>
SLIPSTREAM_INFO({"name": "by-hand", "version": "0.9-rc1", "abi": 1,
                 "kinds": ["MAPPING_UPDATE", "MAPPING_REMOVAL", "STAKING_REWARD", "BLOCK", "PAYLOAD",
                           "GAP", "PEER_SEEN", "PEER_FORGOTTEN", 32, 63],
                 "flags": ["BATCH", "PROMPT"]});
static const slipstream_host *host;
static uint64_t sums[64];
static uint64_t subscribed(void *i) {
    (void)i;
    return UINT64_C(0xFF) | SLIPSTREAM_KIND_BIT(32) | SLIPSTREAM_KIND_BIT(63);
}
static int32_t refuse(const char *why, int32_t status) {
    host->set_error(host->ctx, why, strlen(why));
    return status;
}
static int32_t take(void *i, const slipstream_delivery *d, const uint8_t *p, size_t len) {
    uint64_t mine[64] = {0};
    size_t at = 0;
    (void)i;
    for (uint32_t n = 0; n < d->count; n++) {
        if (len - at < 48)
            return refuse("too short", SLIPSTREAM_MALFORMED);
        const uint32_t size = slipstream_load_u32(p + at);
        const uint32_t head = slipstream_load_u16(p + at + 4);
        const uint32_t kind = slipstream_load_u16(p + at + 6);
        const uint32_t flags = slipstream_load_u32(p + at + 8);
        const uint32_t body = slipstream_load_u32(p + at + 12);
        if (size > len - at || size % 8 != 0 || head < 48 || head % 8 != 0 || head > size || body > size - head)
            return refuse("its lengths do not fit", SLIPSTREAM_MALFORMED);
        if ((flags & SLIPSTREAM_FRAME_CRITICAL) != 0)
            return refuse("a critical flag", SLIPSTREAM_UNSUPPORTED);
        if (kind < 64)
            for (uint32_t k = 0; k < body; k++)
                mine[kind] += p[at + head + k];
        at += size;
    }
    for (int k = 0; k < 64; k++)
        sums[k] += mine[k];
    return SLIPSTREAM_OK;
}
static void destroy(void *i) {
    (void)i;
    host = NULL;
}
const slipstream_plugin *slipstream_create_plugin_v1(const slipstream_host *given) {
    static const slipstream_plugin table = {
        SLIPSTREAM_PLUGIN_HEAD, SLIPSTREAM_FLAG_BATCH | SLIPSTREAM_FLAG_PROMPT, NULL, "by-hand",
        "0.9-rc1", destroy, NULL, NULL, subscribed, take, NULL, NULL};
    if (host != NULL) {
        given->set_error(given->ctx, "there is one already", 20);
        return NULL;
    }
    host = given;
    memset(sums, 0, sizeof sums);
    return &table;
}
