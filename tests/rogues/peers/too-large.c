/* It takes the length that is needed for the length of what it got. */
#define INFO_GRANTS "peers"
#include "rogue.h"
static int32_t look_up(const rogue *self, uint8_t *name, size_t *len) {
    const slipstream_peers_v1 *peers =
        (const slipstream_peers_v1 *)slipstream_extension(self->host, SLIPSTREAM_EXT_PEERS);
    if (peers == NULL)
        return SLIPSTREAM_UNSUPPORTED;
    return peers->lookup(self->host->ctx, (const uint8_t *)"peer-1", 6, SLIPSTREAM_PEER_NAME, name,
                         len);
}
static void look_at_name(const rogue *self) {
    uint8_t name[64] = {0};
    size_t len = sizeof name;
    (void)look_up(self, name, &len);
    look_at_text(name, len);
}
#define IN_BLOCK look_at_name(self)
#include "good.h"
