/* bad_frames.c - frames, right but for the mode. */
#include "bad_host.h"

enum { ROOM = 4096 };

static slipstream_bytes text(const char *value) {
    const slipstream_bytes bytes = {(const uint8_t *)value, strlen(value)};
    return bytes;
}

static size_t write_gap(const slipstream_frame *head, uint64_t ordinal, uint8_t *out) {
    size_t len = ROOM;
    slipstream_gap gap = {ordinal - 1,
                          ordinal,
                          is("gap.count") ? 3 : 2,
                          SLIPSTREAM_KIND_BIT(SLIPSTREAM_KIND_BLOCK),
                          7,
                          7,
                          9,
                          100,
                          101,
                          SLIPSTREAM_GAP_PAUSED,
                          0};
    slipstream_frame nowhere = *head;
    nowhere.stream = nowhere.sequence = 0;
    if (is("gap.alone"))
        gap.first = ordinal, gap.count = 1;
    if (is("gap.reasons"))
        gap.reasons = 0;
    if (is("gap.kinds"))
        gap.kinds = SLIPSTREAM_KIND_BIT(SLIPSTREAM_KIND_MARK);
    if (is("gap.place"))
        gap.first_sequence = gap.last_sequence = 0;
    return slipstream_write_gap(&nowhere, &gap, out, &len) == SLIPSTREAM_OK ? len : 0;
}

/* A block of 3 bytes, so that there is padding: the mode is applied to it. */
static size_t spoil(uint8_t *frame, size_t len) {
    uint8_t *payload = frame + SLIPSTREAM_FRAME_HEADER_LEN;
    if (is("frame.read"))
        slipstream_store_u32(frame, len + 64);
    if (is("frame.header")) {
        memmove(payload + 8, payload, len - SLIPSTREAM_FRAME_HEADER_LEN);
        memset(payload, 0, 8);
        slipstream_store_u16(frame + 4, SLIPSTREAM_FRAME_HEADER_LEN + 8);
    }
    if (is("frame.len") || is("frame.header")) {
        if (is("frame.len"))
            memset(frame + len, 0, 8);
        len += 8;
        slipstream_store_u32(frame, len);
    }
    if (is("frame.flags"))
        slipstream_store_u32(frame + 8, 0x10);
    if (is("frame.place"))
        slipstream_store_u64(frame + 24, 0);
    if (is("frame.padding"))
        frame[len - 1] = 1;
    if (is("payload.read"))
        memset(payload + 8, 0, 8);
    if (is("payload.fixed")) { /* grown, as no 1.0 has grown */
        memmove(payload + 24, payload + 16, 8);
        memset(payload + 16, 0, 8);
        slipstream_store_u32(payload, 24);
        slipstream_store_u32(payload + 8, 24);
        slipstream_store_u32(frame + 12, 24 + 3);
        len += 8;
        slipstream_store_u32(frame, len);
    }
    if (is("payload.spans")) {
        memmove(payload + 24, payload + 16, 8);
        memset(payload + 16, 0, 8);
        slipstream_store_u32(payload + 8, 24);
        slipstream_store_u32(frame + 12, 24 + 3);
        len += 8;
        slipstream_store_u32(frame, len);
    }
    return len;
}

size_t write_frame(uint32_t kind, uint64_t sequence, uint64_t ordinal, uint8_t *out) {
    slipstream_frame head = {
        .stream = 9, .sequence = sequence, .time_ns = 1700000000000000000, .height = 7};
    size_t len = ROOM;
    int32_t status = SLIPSTREAM_FAILED;
    switch (kind) {
    case SLIPSTREAM_KIND_MAPPING_UPDATE: {
        const slipstream_mapping_update update = {text("p"), text("m"), text("key"),
                                                  text(""),  1,         0};
        status = slipstream_write_mapping_update(&head, &update, out, &len);
        break;
    }
    case SLIPSTREAM_KIND_PAYLOAD: {
        const slipstream_payload payload = {{NULL, 0}, text("org.example.pings"), text("{}"), 0, 0};
        head.flags = sequence == 1000 || is("kind.routed") ? SLIPSTREAM_FRAME_ROUTED : 0;
        status = slipstream_write_payload(&head, &payload, out, &len);
        break;
    }
    case SLIPSTREAM_KIND_PEER_SEEN: {
        const slipstream_peer_seen seen = {
            text("peer"), {NULL, 0}, text("Ada"), SLIPSTREAM_PEER_DIRECT, 0};
        status = slipstream_write_peer_seen(&head, &seen, out, &len);
        out[SLIPSTREAM_FRAME_HEADER_LEN + 32] = is("payload.reserved");
        break;
    }
    case SLIPSTREAM_KIND_PEER_FORGOTTEN: {
        const slipstream_peer_forgotten forgotten = {text("peer")};
        status = slipstream_write_peer_forgotten(&head, &forgotten, out, &len);
        out[SLIPSTREAM_FRAME_HEADER_LEN + 4] = is("payload.word");
        break;
    }
    case SLIPSTREAM_KIND_GAP:
        return write_gap(&head, ordinal, out);
    case SLIPSTREAM_KIND_APP_FIRST:
        status = slipstream_write_app(&head, kind, text("own"), out, &len);
        break;
    default: {
        const slipstream_block block = {text("a b"), 1, 0};
        status = slipstream_write_block(&head, &block, out, &len);
        return status == SLIPSTREAM_OK ? spoil(out, len) : 0;
    }
    }
    return status == SLIPSTREAM_OK ? len : 0;
}
