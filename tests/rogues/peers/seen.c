/* To it a peer without a name is an error. */
#include "rogue.h"
#define KINDS                                                                             \
    (SLIPSTREAM_KIND_BIT(SLIPSTREAM_KIND_BLOCK) |                                         \
     SLIPSTREAM_KIND_BIT(SLIPSTREAM_KIND_PEER_SEEN))
#define INFO_KINDS "BLOCK", "PEER_SEEN"
static int32_t take_seen(const slipstream_frame *frame) {
    slipstream_peer_seen seen;
    const int32_t status = slipstream_read_peer_seen(frame, &seen);
    return status == SLIPSTREAM_OK && seen.name.data == NULL ? SLIPSTREAM_NOT_FOUND : status;
}
#define IN_OTHER_KIND                                                                     \
    if (frame->kind == SLIPSTREAM_KIND_PEER_SEEN)                                         \
    return take_seen(frame)
#include "good.h"
