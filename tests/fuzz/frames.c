/* The host's own check of frames, as it is made of all that an application sends: what it takes is
 * written again, and is the same. */
#include "frame/frame.h"
#include "fuzz.h"

static unsigned long taken, refused;

/* A draft of what the frame says; the bytes stay where they are. */
static bool read_draft(const slipstream_frame *frame, ss_draft *out) {
    const ss_shape shape = ss_frame_shape(frame->kind);
    const uint8_t *payload = frame->payload.data;
    uint32_t fixed = 0;
    ss_draft_start(out, frame->kind);
    out->flags = frame->flags;
    out->height = slipstream_load_u64(frame->whole.data + 40);
    out->stream = frame->stream;
    out->sequence = frame->sequence;
    out->time_ns = frame->time_ns;
    const uint32_t own = 8 + 8 * ((uint32_t)shape.spans + shape.numbers + shape.reserved);
    if (slipstream_check_fixed(frame, frame->kind, own, &fixed) != SLIPSTREAM_OK || fixed != own)
        return false; /* it is of a later version of this contract */
    out->word = slipstream_load_u32(payload + 4);
    for (uint32_t i = 0; i < shape.spans; i++)
        REQUIRE(slipstream_read_span(frame, fixed, 8 + 8 * i, (shape.optional >> i & 1) == 0,
                                     &out->spans[i]) == SLIPSTREAM_OK);
    for (uint32_t i = 0; i < shape.numbers; i++)
        out->numbers[i] = slipstream_load_u64(payload + 8 + 8 * (shape.spans + i));
    if (frame->kind >= SLIPSTREAM_KIND_APP_FIRST)
        out->spans[0] = (slipstream_bytes){payload + fixed, frame->payload.len - fixed};
    return true;
}

static void compare(slipstream_bytes a, slipstream_bytes b) {
    REQUIRE((a.data == NULL) == (b.data == NULL) && a.len == b.len);
    REQUIRE(a.len == 0 || memcmp(a.data, b.data, a.len) == 0);
}

static void write_again(const slipstream_frame *frame) {
    ss_draft draft;
    ss_draft again;
    slipstream_frame written;
    if (!read_draft(frame, &draft))
        return;
    const size_t size = ss_frame_size(&draft);
    REQUIRE(size == 0 || size % 8 == 0);
    if (size == 0 || size > (1 << 20)) /* spans may lie over each other, and be more apart */
        return;
    uint8_t *bytes = malloc(size);
    REQUIRE(bytes != NULL);
    ss_frame_write(bytes, size, &draft);
    REQUIRE(ss_frame_check(bytes, size, &written) == SLIPSTREAM_OK);
    REQUIRE(written.kind == frame->kind && written.stream == frame->stream);
    REQUIRE(read_draft(&written, &again) && again.height == draft.height);
    for (uint32_t i = 0; i < SS_MAX_SPANS; i++)
        compare(draft.spans[i], again.spans[i]);
    free(bytes);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    slipstream_frame frame;
    const int32_t status = ss_frame_check(data, size, &frame);
    REQUIRE(status == SLIPSTREAM_OK || status == SLIPSTREAM_MALFORMED ||
            status == SLIPSTREAM_UNSUPPORTED || status == SLIPSTREAM_INVALID_ARGUMENT);
    if (status != SLIPSTREAM_OK) {
        refused++;
        return 0;
    }
    taken++;
    REQUIRE(frame.whole.data == data && frame.whole.len <= size);
    REQUIRE(ss_frame_shape(frame.kind).known && ss_frame_kind_name(frame.kind)[0] != '\0');
    fuzz_touch(frame.payload.data, frame.payload.len);
    write_again(&frame);
    return 0;
}

void fuzz_tell(void) {
    printf("%lu frames taken, %lu refused\n", taken, refused);
}
