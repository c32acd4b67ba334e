/* It takes everything, it says; what it does not like it rejects behind its answer's back. */
#include <slipstream.h>
#include <stdlib.h>
SLIPSTREAM_INFO({"name": "rejects", "version": "1.0", "abi": 1, "kinds": ["BLOCK", "STAKING_REWARD"], "flags": ["BATCH", "MULTI_INSTANCE"], "optional": ["slipstream.settle/1"]});
typedef struct me { slipstream_plugin table; const slipstream_host *host; const slipstream_settle_v1 *settle; } me;
static uint64_t subscribed(void *i) { (void)i; return SLIPSTREAM_KIND_BIT(SLIPSTREAM_KIND_BLOCK) | SLIPSTREAM_KIND_BIT(SLIPSTREAM_KIND_STAKING_REWARD); }
static int32_t take(void *i, const slipstream_delivery *d, const uint8_t *p, size_t len) {
    me *m = i;
    slipstream_frame f;
    size_t at = 0;
    int32_t s;
    if (m->settle == NULL)
        m->settle = slipstream_extension(m->host, SLIPSTREAM_EXT_SETTLE);
    for (uint64_t n = d->first_ordinal; (s = slipstream_next_frame(p, len, &at, &f)) == SLIPSTREAM_OK; n++) {
        slipstream_block b;
        if (f.kind == SLIPSTREAM_KIND_GAP)
            continue;
        if (slipstream_read_block(&f, &b) != SLIPSTREAM_OK) {
            if (m->settle == NULL)
                return slipstream_fail(m->host, SLIPSTREAM_MALFORMED, "no block");
            m->settle->reject(m->host->ctx, n, SLIPSTREAM_MALFORMED, "no block", 8);
        }
    }
    return s == SLIPSTREAM_END ? SLIPSTREAM_OK : slipstream_fail(m->host, s, "bad frame");
}
const slipstream_plugin *slipstream_create_plugin_v1(const slipstream_host *host) {
    me *m = calloc(1, sizeof *m);
    if (m == NULL) return NULL;
    const slipstream_plugin t = {SLIPSTREAM_PLUGIN_HEAD, SLIPSTREAM_FLAG_BATCH | SLIPSTREAM_FLAG_MULTI_INSTANCE, m, "rejects", "1.0",
                                 free, NULL, NULL, subscribed, take, NULL, NULL};
    m->table = t; m->host = host;
    return &m->table;
}
