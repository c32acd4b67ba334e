/* frames.c - is a frame what the header says?
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "instance.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Rows of the header's table, by kind. */
static const struct {
    uint32_t fixed_len, spans, optional;
} shapes[] = {{40, 4, 0}, {32, 3, 1 << 2},          {40, 2, 0}, {16, 1, 0}, {32, 3, 1},
              {80, 0, 0}, {40, 3, 1 << 1 | 1 << 2}, {16, 1, 0}};

static bool is_zero(const uint8_t *bytes, size_t len) {
    for (size_t i = 0; i < len; i++)
        if (bytes[i] != 0)
            return false;
    return true;
}

static size_t round_up(size_t len) {
    return (len + 7) / 8 * 8;
}

static int32_t read_payload(const slipstream_frame *frame) {
    union {
        slipstream_mapping_update update;
        slipstream_mapping_removal removal;
        slipstream_staking_reward reward;
        slipstream_block block;
        slipstream_payload payload;
        slipstream_gap gap;
        slipstream_peer_seen seen;
        slipstream_peer_forgotten forgotten;
        slipstream_bytes app;
    } out;
    switch (frame->kind) {
    case SLIPSTREAM_KIND_MAPPING_UPDATE:
        return slipstream_read_mapping_update(frame, &out.update);
    case SLIPSTREAM_KIND_MAPPING_REMOVAL:
        return slipstream_read_mapping_removal(frame, &out.removal);
    case SLIPSTREAM_KIND_STAKING_REWARD:
        return slipstream_read_staking_reward(frame, &out.reward);
    case SLIPSTREAM_KIND_BLOCK:
        return slipstream_read_block(frame, &out.block);
    case SLIPSTREAM_KIND_PAYLOAD:
        return slipstream_read_payload(frame, &out.payload);
    case SLIPSTREAM_KIND_GAP:
        return slipstream_read_gap(frame, &out.gap);
    case SLIPSTREAM_KIND_PEER_SEEN:
        return slipstream_read_peer_seen(frame, &out.seen);
    case SLIPSTREAM_KIND_PEER_FORGOTTEN:
        return slipstream_read_peer_forgotten(frame, &out.forgotten);
    default:
        return slipstream_read_app(frame, &out.app);
    }
}

/* Spans one behind the other, from the end of the fixed part to the end of the payload. */
static void check_spans(probe *self, const slipstream_frame *frame, uint32_t fixed) {
    const uint8_t *payload = frame->payload.data;
    size_t end = fixed;
    for (uint32_t i = 0; i < shapes[frame->kind].spans; i++) {
        const uint32_t offset = slipstream_load_u32(payload + 8 + 8 * i);
        const uint32_t len = slipstream_load_u32(payload + 12 + 8 * i);
        if (offset == 0 && len == 0)
            continue;
        if (!check(self, PAYLOAD_SPANS, offset == round_up(end),
                   "span %u of kind %u starts at %u, and the one before it ends at %zu",
                   (unsigned)i, (unsigned)frame->kind, (unsigned)offset, end))
            return;
        check(self, FRAME_PADDING, is_zero(payload + end, offset - end),
              "in front of span %u of kind %u", (unsigned)i, (unsigned)frame->kind);
        end = (size_t)offset + len;
    }
    check(self, PAYLOAD_SPANS, frame->payload.len == end,
          "the payload of kind %u has %zu bytes, its last span ends at %zu", (unsigned)frame->kind,
          frame->payload.len, end);
}

static void check_words(probe *self, const slipstream_frame *frame) {
    const uint32_t word = slipstream_load_u32(frame->payload.data + 4);
    if (frame->kind == SLIPSTREAM_KIND_PEER_SEEN) {
        check(self, PAYLOAD_WORD, word == SLIPSTREAM_PEER_DIRECT || word == SLIPSTREAM_PEER_ROUTED,
              "a peer was seen via %u", (unsigned)word);
        check(self, PAYLOAD_RESERVED, is_zero(frame->payload.data + 32, 8), "in PEER_SEEN");
    } else if (frame->kind > SLIPSTREAM_KIND_PEER_SEEN) {
        check(self, PAYLOAD_WORD, word == 0, "the word of kind %u is %u", (unsigned)frame->kind,
              (unsigned)word);
    }
}

static void check_payload(probe *self, const slipstream_frame *frame) {
    const bool is_app = frame->kind >= SLIPSTREAM_KIND_APP_FIRST;
    const int32_t status = read_payload(frame);
    if (!check(self, PAYLOAD_READ, status == SLIPSTREAM_OK, "the reader of kind %u gave %d",
               (unsigned)frame->kind, (int)status))
        return;
    const uint32_t fixed = slipstream_load_u32(frame->payload.data);
    const uint32_t known = is_app ? 8 : shapes[frame->kind].fixed_len;
    if (self->is_1_0 && !is_app) /* of a later minor it may have grown */
        check(self, PAYLOAD_FIXED, fixed == known, "fixed_len of kind %u is %u, not %u",
              (unsigned)frame->kind, (unsigned)fixed, (unsigned)known);
    if (self->is_1_0)
        check_words(self, frame);
    if (!is_app && fixed == known)
        check_spans(self, frame, fixed);
}

static void check_header(probe *self, const slipstream_frame *frame) {
    const uint32_t header_len = slipstream_load_u16(frame->whole.data + 4);
    const size_t end = header_len + frame->payload.len;
    const bool is_app = frame->kind >= SLIPSTREAM_KIND_APP_FIRST;
    const uint32_t known = 0x0F | (is_app ? 0xFF00 : 0);
    if (self->is_1_0) {
        check(self, FRAME_HEADER, header_len == SLIPSTREAM_FRAME_HEADER_LEN, "it is %u",
              (unsigned)header_len);
        check(self, FRAME_FLAGS, (frame->flags & ~known) == 0, "kind %u has the flags %#x",
              (unsigned)frame->kind, (unsigned)frame->flags);
    }
    if (check(self, FRAME_LEN, round_up(end) == frame->whole.len,
              "%u and %zu bytes in a frame of %zu", (unsigned)header_len, frame->payload.len,
              frame->whole.len))
        check(self, FRAME_PADDING, is_zero(frame->whole.data + end, frame->whole.len - end),
              "at the end of kind %u", (unsigned)frame->kind);
    if (frame->kind == SLIPSTREAM_KIND_GAP)
        check(self, FRAME_PLACE, frame->stream == 0 && frame->sequence == 0,
              "a GAP has stream %llu, sequence %llu", (unsigned long long)frame->stream,
              (unsigned long long)frame->sequence);
    else
        check(self, FRAME_PLACE, frame->stream != 0 && frame->sequence != 0,
              "kind %u has stream %llu, sequence %llu", (unsigned)frame->kind,
              (unsigned long long)frame->stream, (unsigned long long)frame->sequence);
}

static void check_kind(probe *self, const slipstream_frame *frame) {
    const bool is_routed = (frame->flags & SLIPSTREAM_FRAME_ROUTED) != 0;
    const bool is_subscribed = (self->kinds & BIT(frame->kind)) != 0;
    slipstream_payload payload = {0};
    const bool is_claimed = slipstream_read_payload(frame, &payload) == SLIPSTREAM_OK &&
                            self->claim[0] != '\0' && payload.name.len == strlen(self->claim) &&
                            memcmp(payload.name.data, self->claim, payload.name.len) == 0;
    check(self, KIND_ROUTED, !is_routed || is_claimed, "kind %u has it", (unsigned)frame->kind);
    check(self, KIND_UNSUBSCRIBED,
          is_subscribed || is_routed ||
              (frame->kind == SLIPSTREAM_KIND_GAP && (self->kinds != 0 || self->claim[0] != '\0')),
          "kind %u came", (unsigned)frame->kind);
}

void check_frame(probe *self, const slipstream_frame *frame) {
    check_kind(self, frame);
    check_header(self, frame);
    const bool is_known = frame->kind < sizeof shapes / sizeof shapes[0];
    if (is_known ||
        (frame->kind >= SLIPSTREAM_KIND_APP_FIRST && frame->kind <= SLIPSTREAM_KIND_APP_LAST))
        check_payload(self, frame);
}

/* ---- Golden frames ------------------------------------------------------------------ */

/* A file of frames, one behind the other. */
bool take_golden(probe *self, const char *path) {
    FILE *file = fopen(path, "rb");
    slipstream_frame frame;
    size_t at = 0;
    if (file == NULL)
        return false;
    self->golden = malloc(1 << 20);
    if (self->golden != NULL)
        self->golden_len = fread(self->golden, 1, 1 << 20, file);
    fclose(file);
    while (slipstream_next_frame(self->golden, self->golden_len, &at, &frame) == SLIPSTREAM_OK) {
    }
    return at > 0 && at == self->golden_len;
}

void check_golden(probe *self, const slipstream_frame *frame) {
    slipstream_frame golden;
    size_t at = 0;
    while (slipstream_next_frame(self->golden, self->golden_len, &at, &golden) == SLIPSTREAM_OK) {
        if (golden.stream != frame->stream || golden.sequence != frame->sequence ||
            golden.kind != frame->kind)
            continue;
        self->goldens++;
        check(self, GOLDEN_BYTES,
              golden.whole.len == frame->whole.len &&
                  memcmp(golden.whole.data, frame->whole.data, golden.whole.len) == 0,
              "kind %u, stream %llu, sequence %llu came otherwise", (unsigned)frame->kind,
              (unsigned long long)frame->stream, (unsigned long long)frame->sequence);
    }
}
