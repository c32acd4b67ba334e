/* frame_usual: the check of nearly all frames, for the hot loop. */
#ifndef SS_FRAME_USUAL_H
#define SS_FRAME_USUAL_H

#include "frame.h"

#include <endian.h>
#include <string.h>

/* slipstream_load_u64, as one instruction. */
static inline uint64_t ss_load_word(const uint8_t *p) {
    uint64_t word;
    memcpy(&word, p, sizeof word);
    return le64toh(word);
}

/* Has it stream, sequence and time? At least a header is readable. */
static inline bool ss_frame_is_stamped(const uint8_t *frame) {
    return ss_load_word(frame + 16) != 0 && ss_load_word(frame + 24) != 0 &&
           ss_load_word(frame + 32) != 0;
}

/* True for a mapping update of the usual form (no header or fixed part longer than today's)
 * that is well formed and has both stream and sequence or neither: what nearly all frames
 * are, told in a few instructions. False says nothing; ask ss_frame_check. */
static inline bool ss_frame_is_usual(const uint8_t *frame, size_t len) {
    typedef uint64_t pair __attribute__((vector_size(16)));
    enum { HEAD = SLIPSTREAM_FRAME_HEADER_LEN, FIXED = 40 };
    if (len < HEAD + FIXED)
        return false;
    const uint64_t first = ss_load_word(frame);
    const uint64_t second = ss_load_word(frame + 8);
    const uint64_t frame_len = first & 0xFFFFFFFF;
    const uint64_t payload_len = second >> 32;
    if (first >> 32 != (HEAD | (uint64_t)SLIPSTREAM_KIND_MAPPING_UPDATE << 16) ||
        (second & SLIPSTREAM_FRAME_CRITICAL) != 0 || frame_len > len ||
        frame_len > SLIPSTREAM_FRAME_MAX || frame_len % 8 != 0 ||
        payload_len + HEAD > frame_len || payload_len < FIXED ||
        slipstream_load_u32(frame + HEAD) != FIXED)
        return false;
    if ((ss_load_word(frame + 16) == 0) != (ss_load_word(frame + 24) == 0))
        return false;
    /* Two spans at once, each a 64-bit word of length and offset. A difference below zero
     * has its highest bit set; 64 bits cannot overflow here. */
    pair spans[2];
    memcpy(spans, frame + HEAD + 8, sizeof spans);
    pair bad = {0, 0};
    for (int i = 0; i < 2; i++) {
        const pair offset = spans[i] & 0xFFFFFFFF;
        bad |= (offset - FIXED) | (payload_len - (offset + (spans[i] >> 32)));
    }
    return __BYTE_ORDER == __LITTLE_ENDIAN && (int64_t)(bad[0] | bad[1]) >= 0;
}

#endif
