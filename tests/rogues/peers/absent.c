/* It counts on peers in every host that reads configs. */
#define INFO_GRANTS "peers"
#include "rogue.h"
static void look_at_peers(const rogue *self) {
    const slipstream_peers_v1 *peers =
        (const slipstream_peers_v1 *)slipstream_extension(self->host, SLIPSTREAM_EXT_PEERS);
    look_at((uint8_t)peers->struct_size);
}
#define ON_LOADED                                                                         \
    if (reader != NULL)                                                                   \
    look_at_peers(self)
#include "good.h"
