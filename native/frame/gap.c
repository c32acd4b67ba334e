#include "frame/gap.h"

#include "frame/frame.h"
#include "platform/platform.h"

void ss_gap_write(uint8_t *frame, const ss_gap_block *gap) {
    const ss_draft draft = {.time_ns = (int64_t)ss_os_wall_ns(),
                            .height = gap->last_height,
                            .kind = SLIPSTREAM_KIND_GAP,
                            .reasons = gap->reasons,
                            .numbers = {gap->first, gap->last, gap->last - gap->first + 1,
                                        gap->kinds, gap->first_height, gap->last_height}};
    ss_frame_write(frame, SS_GAP_FRAME_LEN, &draft);
}
