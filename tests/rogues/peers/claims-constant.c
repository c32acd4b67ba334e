/* It claims a name only until its first block. */
#include "rogue.h"
static const char *name_at(void *instance, uint32_t index) {
    return index == 0 && ((const rogue *)instance)->blocks == 0 ? "org.example.rogue" : NULL;
}
static const slipstream_payload_v1 claims = {sizeof claims, 0, name_at};
static int32_t take_payload(const slipstream_frame *frame) {
    slipstream_payload payload;
    const int32_t status = slipstream_read_payload(frame, &payload);
    return status == SLIPSTREAM_OK && (frame->flags & SLIPSTREAM_FRAME_ROUTED) == 0
               ? SLIPSTREAM_IGNORED
               : status;
}
#define IN_GET_EXTENSION                                                                  \
    if (strcmp(id, SLIPSTREAM_EXT_PAYLOAD) == 0)                                          \
    return &claims
#define IN_OTHER_KIND                                                                     \
    if (frame->kind == SLIPSTREAM_KIND_PAYLOAD)                                           \
    return take_payload(frame)
#include "good.h"
