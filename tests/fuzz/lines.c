/* Lines of JSON, read past Python: whatever the text is, the frames that come of it are sound, and
 * stand for whole lines. */
#include "frame/lines.h"
#include "fuzz.h"

enum {
    PROGRAM = SS_LINE_COMMON,
    MAPPING,
    KEY,
    VALUE,
    STAKER,
    VALIDATOR,
    REWARD,
    NEW_STAKE,
    ENCODING,
    DATA,
};

static const struct {
    const char *name;
    uint32_t form;
} members[] = {
    {"kind", SS_LINE_TEXT},
    {"seq", SS_LINE_NUMBER},
    {"stream", SS_LINE_HEX},
    {"sequence", SS_LINE_NUMBER},
    {"time_ns", SS_LINE_NUMBER},
    {"flags", SS_LINE_NUMBER},
    {"block_height", SS_LINE_NUMBER},
    {"program_id_hex", SS_LINE_HEX},
    {"mapping_name_hex", SS_LINE_HEX},
    {"key_hex", SS_LINE_HEX},
    {"value_hex", SS_LINE_HEX},
    {"staker_hex", SS_LINE_HEX},
    {"validator_hex", SS_LINE_HEX},
    {"reward", SS_LINE_NUMBER},
    {"new_stake", SS_LINE_NUMBER},
    {"encoding", SS_LINE_WORD},
    {"data_hex", SS_LINE_HEX},
    {"staker", SS_LINE_TEXT},
    {"validator", SS_LINE_TEXT},
    {"program_id", SS_LINE_TEXT},
    {"odd", SS_LINE_OTHER},
};

static unsigned long frames, left;

static ss_lines *make(void) {
    ss_lines *lines = ss_lines_new();
    REQUIRE(lines != NULL);
    for (size_t i = 0; i < sizeof members / sizeof members[0]; i++)
        REQUIRE(ss_lines_add_member(lines, members[i].name, members[i].form));
    REQUIRE(ss_lines_add_kind(lines, "MappingUpdate", SLIPSTREAM_KIND_MAPPING_UPDATE,
                              (const uint8_t[]){PROGRAM, MAPPING, KEY, VALUE}, ENCODING));
    REQUIRE(ss_lines_add_kind(lines, "StakingReward", SLIPSTREAM_KIND_STAKING_REWARD,
                              (const uint8_t[]){STAKER, VALIDATOR, REWARD, NEW_STAKE},
                              SS_LINE_NO_MEMBER));
    REQUIRE(ss_lines_add_kind(lines, "App", SLIPSTREAM_KIND_APP_FIRST, (const uint8_t[]){DATA},
                              SS_LINE_NO_MEMBER));
    return lines;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    ss_lines *lines = make();
    ss_lines_place place = {.stream = size > 0 ? data[0] & 1 : 0};
    size_t before;
    do {
        before = place.at;
        const uint8_t *made = ss_lines_read(lines, (const char *)data, size, 256, &place);
        size_t at = 0;
        uint32_t count = 0;
        slipstream_frame frame;
        REQUIRE((made == NULL) == (place.count == 0) && place.at <= size);
        REQUIRE(place.at == before || data[place.at - 1] == '\n');
        while (made != NULL && at < place.len) {
            REQUIRE(slipstream_next_frame(made, place.len, &at, &frame) == SLIPSTREAM_OK);
            REQUIRE(ss_frame_check(frame.whole.data, frame.whole.len, &frame) == SLIPSTREAM_OK);
            fuzz_touch(frame.payload.data, frame.payload.len);
            count++;
        }
        REQUIRE(count == place.count);
        frames += count;
    } while (place.at > before);
    left += place.at < size;
    ss_lines_free(lines);
    return 0;
}

void fuzz_tell(void) {
    printf("%lu frames made, %lu texts left\n", frames, left);
}
