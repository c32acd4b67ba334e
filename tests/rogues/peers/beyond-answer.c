/* It sends its whole buffer, of which the answer fills the beginning. */
#define INFO_GRANTS "send", "peers"
#include "rogue.h"
static int32_t look_up(const rogue *self, uint8_t *name, size_t *len) {
    const slipstream_peers_v1 *peers =
        (const slipstream_peers_v1 *)slipstream_extension(self->host, SLIPSTREAM_EXT_PEERS);
    if (peers == NULL)
        return SLIPSTREAM_UNSUPPORTED;
    return peers->lookup(self->host->ctx, (const uint8_t *)"peer-1", 6, SLIPSTREAM_PEER_NAME, name,
                         len);
}
static void send_name(const rogue *self) {
    uint8_t name[64] = {0};
    size_t len = sizeof name;
    if (look_up(self, name, &len) == SLIPSTREAM_OK)
        (void)send_text(self->host, SLIPSTREAM_PEER_DIRECT, (const char *)name, sizeof name);
}
#define IN_BLOCK send_name(self)
#include "good.h"
