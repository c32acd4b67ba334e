/* ss_frame_is_usual against ss_frame_check: what the writer makes is usual, and what is usual
 * is well formed, whatever random bytes are in it and however little of it is readable.
 * Argument: iterations. */
#include "check.h"
#include "frame/usual.h"

#include <string.h>

enum { SPANS = 4, LONGEST = 40 };

static size_t write_random(uint8_t *frame) {
    static const uint8_t bytes[LONGEST] = {1, 2, 3};
    ss_draft draft = {.kind = SLIPSTREAM_KIND_MAPPING_UPDATE,
                      .stream = random_below(2),
                      .time_ns = (int64_t)random_below(2),
                      .height = random_below(1000)};
    draft.sequence = draft.stream;
    for (int i = 0; i < SPANS; i++)
        draft.spans[i] = (slipstream_bytes){bytes, random_below(LONGEST)};
    const size_t size = ss_frame_size(&draft);
    ss_frame_write(frame, size, &draft);
    return size;
}

/* Some byte or word becomes another: nearly right values are the interesting ones. */
static void change(uint8_t *frame, size_t size) {
    const size_t at = random_below(size);
    static const uint32_t words[] = {0, 1, 7, 8, 39, 40, 41, 0x7FFFFFFF, 0xFFFFFFF8, 0xFFFFFFFF};
    if (random_below(2) == 0) {
        frame[at] = (uint8_t)(frame[at] + (random_below(2) == 0 ? 1 : random_below(256)));
    } else {
        uint32_t word = words[random_below(sizeof words / sizeof words[0])];
        if (random_below(2) == 0)
            word += slipstream_load_u32(frame + at / 4 * 4);
        memcpy(frame + at / 4 * 4, &word, sizeof word);
    }
}

int main(int argc, char **argv) {
    REQUIRE(argc == 2);
    const unsigned long rounds = strtoul(argv[1], NULL, 10);
    uint8_t made[SLIPSTREAM_FRAME_HEADER_LEN + 40 + SPANS * (LONGEST + 8)];
    uint8_t before[sizeof made]; /* what was not changed is like it */
    unsigned long usual = 0;
    unsigned long formed = 0;
    unsigned long like = 0;
    for (unsigned long round = 0; round < rounds; round++) {
        const size_t size = write_random(made);
        REQUIRE(ss_frame_is_usual(made, size));
        memcpy(before, made, size);
        for (size_t changes = random_below(4); changes > 0; changes--)
            change(made, size);
        const size_t len = random_below(4) == 0 ? random_below(size) : size;
        uint8_t *readable = malloc(len); /* not a byte more */
        memcpy(readable, made, len);
        slipstream_frame view;
        const bool well_formed = ss_frame_check(readable, len, &view) == SLIPSTREAM_OK;
        formed += well_formed;
        if (ss_frame_is_usual(readable, len)) {
            REQUIRE(well_formed && view.kind == SLIPSTREAM_KIND_MAPPING_UPDATE);
            REQUIRE(view.whole.len == slipstream_load_u32(readable));
            usual++;
        }
        if (len == size && ss_frame_is_like(readable, before)) {
            REQUIRE(ss_frame_is_usual(readable, len));
            like++;
        }
        free(readable);
    }
    REQUIRE(usual > rounds / 8 && formed > usual && like > rounds / 8 && like < usual);
    printf("%lu frames: %lu usual, %lu well formed\n", rounds, usual, formed);
    return 0;
}
