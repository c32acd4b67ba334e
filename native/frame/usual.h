/* frame_usual: the check of nearly all frames, for the hot loop. */
#ifndef SS_USUAL_H
#define SS_USUAL_H

#include "frame/frame.h"
#include "platform/cpu.h"

#include <string.h>

/* slipstream_load_u64, as one instruction. */
static inline uint64_t ss_load_word(const uint8_t *p) {
    uint64_t word;
    memcpy(&word, p, sizeof word);
    return SS_CPU_LE64(word);
}

/* Has it stream, sequence and time? At least a header is readable. */
static inline bool ss_frame_is_stamped(const uint8_t *frame) {
    return ss_load_word(frame + 16) != 0 && ss_load_word(frame + 24) != 0 &&
           ss_load_word(frame + 32) != 0;
}

/* Has it both stream and sequence, or neither? */
static inline bool ss_frame_is_paired(const uint8_t *frame) {
    return (ss_load_word(frame + 16) == 0) == (ss_load_word(frame + 24) == 0);
}

/* True for a mapping update that is exactly what ss_frame_write makes of its values, whatever
 * stream, sequence and encoding are: so are nearly all frames, and it is told in a few instructions.
 * False says nothing; ask ss_frame_check. `room` is at most SLIPSTREAM_FRAME_MAX.
 *
 * The lengths of the spans say where everything else has to be. They are 32-bit words, so
 * their sum in 64 bits cannot overflow. Whoever goes on to the next frame takes the length
 * that the frame says, which costs one load, and not the sum, which is known much later. */
static inline bool ss_frame_is_usual(const uint8_t *frame, size_t room) {
    enum { HEAD = SLIPSTREAM_FRAME_HEADER_LEN, FIXED = 40 };
    uint64_t end = FIXED;
    if (room < HEAD + FIXED || slipstream_load_u32(frame + HEAD) != FIXED)
        return false;
    for (unsigned i = 0; i < 4; i++) {
        end = (end + 7) & ~UINT64_C(7);
        if (slipstream_load_u32(frame + HEAD + 8 + 8 * i) != (uint32_t)end)
            return false;
        end += slipstream_load_u32(frame + HEAD + 12 + 8 * i);
    }
    const uint64_t frame_len = HEAD + ((end + 7) & ~UINT64_C(7));
    const uint64_t kind = HEAD | (uint64_t)SLIPSTREAM_KIND_MAPPING_UPDATE << 16;
    return slipstream_load_u32(frame) <= room && ss_load_word(frame) == (frame_len | kind << 32) &&
           ss_load_word(frame + 8) == end << 32;
}

/* Has it the lengths of `usual`, a usual frame? Then it is one, too, where there is room for as
 * much: so are neighbours, mostly, and these loads wait for nothing. */
static inline bool ss_frame_is_like(const uint8_t *frame, const uint8_t *usual) {
    enum { HEAD = SLIPSTREAM_FRAME_HEADER_LEN };
    uint64_t other = (ss_load_word(frame) ^ ss_load_word(usual)) |
                     (ss_load_word(frame + 8) ^ ss_load_word(usual + 8)) |
                     (slipstream_load_u32(frame + HEAD) ^ slipstream_load_u32(usual + HEAD));
    for (unsigned i = 1; i <= 4; i++)
        other |= ss_load_word(frame + HEAD + 8 * i) ^ ss_load_word(usual + HEAD + 8 * i);
    return other == 0;
}

/* As much of `len` bytes as a frame may take. */
static inline size_t ss_frame_room(size_t len) {
    return len < SLIPSTREAM_FRAME_MAX ? len : SLIPSTREAM_FRAME_MAX;
}

#endif
