/* The header's readers against arbitrary bytes; of the core nothing is in it. */
#include "fuzz.h"

#include <slipstream.h>

static volatile unsigned sink;
static struct {
    unsigned long frames, views, malformed;
} seen;

static void touch(slipstream_bytes bytes) {
    unsigned sum = 0;
    for (size_t i = 0; i < bytes.len; i++)
        sum += bytes.data[i];
    sink += sum;
}

static void touch_span(const slipstream_frame *frame, slipstream_bytes span, int may_be_absent) {
    if (span.data == NULL) {
        REQUIRE(may_be_absent && span.len == 0);
        return;
    }
    REQUIRE(span.data >= frame->payload.data + 8);
    REQUIRE(span.data + span.len <= frame->payload.data + frame->payload.len);
    touch(span);
}

/* A reader answers WRONG_TYPE for other kinds, OK or MALFORMED for its own. */
static int reads(int32_t status, int own_kind) {
    REQUIRE((status == SLIPSTREAM_WRONG_TYPE) == !own_kind);
    REQUIRE(!own_kind || status == SLIPSTREAM_OK || status == SLIPSTREAM_MALFORMED);
    seen.views += status == SLIPSTREAM_OK;
    return status == SLIPSTREAM_OK;
}

static void read_every_kind(const slipstream_frame *frame) {
    const uint32_t kind = frame->kind;
    slipstream_mapping_update update;
    slipstream_mapping_removal removal;
    slipstream_staking_reward reward;
    slipstream_block block;
    slipstream_payload payload;
    slipstream_gap gap;
    slipstream_peer_seen peer;
    slipstream_peer_forgotten forgotten;
    slipstream_mark mark;
    slipstream_bytes app;
    if (reads(slipstream_read_mapping_update(frame, &update),
              kind == SLIPSTREAM_KIND_MAPPING_UPDATE)) {
        touch_span(frame, update.program_id, 0);
        touch_span(frame, update.mapping_name, 0);
        touch_span(frame, update.key, 0);
        touch_span(frame, update.value, 0);
    }
    if (reads(slipstream_read_mapping_removal(frame, &removal),
              kind == SLIPSTREAM_KIND_MAPPING_REMOVAL)) {
        touch_span(frame, removal.program_id, 0);
        touch_span(frame, removal.mapping_name, 0);
        touch_span(frame, removal.key, 1);
    }
    if (reads(slipstream_read_staking_reward(frame, &reward),
              kind == SLIPSTREAM_KIND_STAKING_REWARD)) {
        touch_span(frame, reward.staker, 0);
        touch_span(frame, reward.validator, 0);
        sink += (unsigned)(reward.reward ^ reward.new_stake);
    }
    if (reads(slipstream_read_block(frame, &block), kind == SLIPSTREAM_KIND_BLOCK))
        touch_span(frame, block.block, 0);
    if (reads(slipstream_read_payload(frame, &payload), kind == SLIPSTREAM_KIND_PAYLOAD)) {
        touch_span(frame, payload.source, 1);
        touch_span(frame, payload.name, 0);
        touch_span(frame, payload.body, 0);
    }
    if (reads(slipstream_read_gap(frame, &gap), kind == SLIPSTREAM_KIND_GAP)) {
        REQUIRE(gap.reserved == 0);
        sink += (unsigned)(gap.first ^ gap.last ^ gap.count ^ gap.kinds ^ gap.first_height ^
                           gap.last_height ^ gap.reasons ^ gap.lost_stream ^ gap.first_sequence ^
                           gap.last_sequence);
    }
    if (reads(slipstream_read_peer_seen(frame, &peer), kind == SLIPSTREAM_KIND_PEER_SEEN)) {
        touch_span(frame, peer.peer, 0);
        touch_span(frame, peer.public_key, 1);
        touch_span(frame, peer.name, 1);
    }
    if (reads(slipstream_read_peer_forgotten(frame, &forgotten),
              kind == SLIPSTREAM_KIND_PEER_FORGOTTEN))
        touch_span(frame, forgotten.peer, 0);
    if (reads(slipstream_read_mark(frame, &mark), kind == SLIPSTREAM_KIND_MARK)) {
        touch_span(frame, mark.name, 0);
        touch_span(frame, mark.body, 0);
    }
    if (reads(slipstream_read_app(frame, &app),
              kind >= SLIPSTREAM_KIND_APP_FIRST && kind <= SLIPSTREAM_KIND_APP_LAST))
        touch_span(frame, app, 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    slipstream_frame frame;
    size_t offset = 0;
    for (;;) {
        const size_t before = offset;
        const int32_t status = slipstream_next_frame(data, size, &offset, &frame);
        if (status == SLIPSTREAM_END || status == SLIPSTREAM_MALFORMED) {
            REQUIRE(offset == before);
            REQUIRE((status == SLIPSTREAM_END) == (offset == size));
            seen.malformed += status == SLIPSTREAM_MALFORMED;
            return 0;
        }
        REQUIRE((status == SLIPSTREAM_UNSUPPORTED) ==
                ((frame.flags & SLIPSTREAM_FRAME_CRITICAL) != 0));
        REQUIRE(status == SLIPSTREAM_OK || status == SLIPSTREAM_UNSUPPORTED);
        REQUIRE(offset > before && offset <= size && (offset - before) % 8 == 0);
        REQUIRE(frame.whole.data == data + before && frame.whole.len == offset - before);
        REQUIRE(frame.payload.data >= frame.whole.data + SLIPSTREAM_FRAME_HEADER_LEN);
        REQUIRE(frame.payload.data + frame.payload.len <= data + offset);
        touch(frame.whole);
        touch(frame.payload);
        read_every_kind(&frame);
        seen.frames++;
    }
}

void fuzz_tell(void) {
    printf("%lu frames, %lu views, %lu malformed\n", seen.frames, seen.views, seen.malformed);
}
