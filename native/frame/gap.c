#include "frame/gap.h"

#include "frame/frame.h"
#include "platform/platform.h"

void ss_gap_write(uint8_t *frame, const ss_gap_block *gap) {
    const bool one = gap->stream != 0; /* stream, or the sequences mean nothing */
    const ss_draft draft = {.time_ns = (int64_t)ss_os_wall_ns(),
                            .height = gap->last_height,
                            .kind = SLIPSTREAM_KIND_GAP,
                            .word = gap->reasons,
                            .numbers = {gap->first, gap->last, gap->last - gap->first + 1,
                                        gap->kinds, gap->first_height, gap->last_height,
                                        gap->stream, one ? gap->first_sequence : 0,
                                        one ? gap->last_sequence : 0}};
    ss_frame_write(frame, SS_GAP_FRAME_LEN, &draft);
}
