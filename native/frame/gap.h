/* gap: what was lost, and the GAP frame that tells of it. */
#ifndef SS_GAP_H
#define SS_GAP_H

#include <slipstream.h>

/* Neighbouring events that were lost; `last` is 0 as long as there are none. */
typedef struct ss_gap_block {
    uint64_t first; /* ordinals */
    uint64_t last;
    uint64_t kinds;
    uint64_t first_height;
    uint64_t last_height;
    uint64_t stream; /* 0: of several */
    uint64_t first_sequence;
    uint64_t last_sequence;
    uint32_t reasons;
    uint32_t reserved;
} ss_gap_block;

/* Adds neighbouring losses to `gap`. */
static inline void ss_gap_add(ss_gap_block *gap, const ss_gap_block *more) {
    if (more->last == 0)
        return;
    if (gap->last == 0) {
        *gap = *more;
        return;
    }
    gap->last = more->last;
    gap->last_height = more->last_height;
    gap->last_sequence = more->last_sequence;
    if (gap->stream != more->stream)
        gap->stream = 0;
    gap->kinds |= more->kinds;
    gap->reasons |= more->reasons;
}

/* The loss of one frame. */
static inline ss_gap_block ss_gap_of(const uint8_t *frame, uint64_t ordinal, uint32_t reasons) {
    const uint64_t height = slipstream_load_u64(frame + 40);
    const uint64_t kinds = SLIPSTREAM_KIND_BIT(slipstream_load_u16(frame + 6) & 63);
    const uint64_t sequence = slipstream_load_u64(frame + 24);
    return (ss_gap_block){ordinal,  ordinal,  kinds,
                          height,   height,   slipstream_load_u64(frame + 16),
                          sequence, sequence, reasons,
                          0};
}

/* A GAP frame, and its length. */
#define SS_GAP_FRAME_LEN (SLIPSTREAM_FRAME_HEADER_LEN + 80)
void ss_gap_write(uint8_t *frame, const ss_gap_block *gap);

#endif
