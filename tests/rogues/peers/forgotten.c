/* It fails to forget a peer that it has never seen. */
#define STATE                                                                             \
    uint8_t last[64];                                                                     \
    size_t last_len;
#include "rogue.h"
#define KINDS                                                                             \
    (SLIPSTREAM_KIND_BIT(SLIPSTREAM_KIND_PEER_SEEN) |                                     \
     SLIPSTREAM_KIND_BIT(SLIPSTREAM_KIND_PEER_FORGOTTEN))
#define INFO_KINDS "PEER_SEEN", "PEER_FORGOTTEN"
static int32_t take_seen(rogue *self, const slipstream_frame *frame) {
    slipstream_peer_seen seen;
    const int32_t status = slipstream_read_peer_seen(frame, &seen);
    if (status == SLIPSTREAM_OK && seen.peer.len <= sizeof self->last) {
        self->last_len = seen.peer.len;
        memcpy(self->last, seen.peer.data, seen.peer.len);
    }
    return status;
}
static int32_t take_forgotten(const rogue *self, const slipstream_frame *frame) {
    slipstream_peer_forgotten gone;
    const int32_t status = slipstream_read_peer_forgotten(frame, &gone);
    const int is_known = status == SLIPSTREAM_OK && gone.peer.len == self->last_len &&
                         memcmp(gone.peer.data, self->last, self->last_len) == 0;
    return status == SLIPSTREAM_OK && !is_known ? SLIPSTREAM_NOT_FOUND : status;
}
#define IN_OTHER_KIND                                                                     \
    if (frame->kind == SLIPSTREAM_KIND_PEER_SEEN)                                         \
        return take_seen(self, frame);                                                    \
    if (frame->kind == SLIPSTREAM_KIND_PEER_FORGOTTEN)                                    \
    return take_forgotten(self, frame)
#include "good.h"
