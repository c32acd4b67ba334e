/* fuzz_frame: the header's readers against arbitrary bytes.
 *
 * libFuzzer:  clang -g -O1 -fsanitize=fuzzer,address,undefined -I include fuzz_frame.c
 *             ./a.out CORPUS_FOLDER
 * alone:      gcc -g -O1 -fsanitize=address,undefined -DFUZZ_MAIN -I include fuzz_frame.c
 *             ./a.out ITERATIONS SEED FRAME_FILE...
 *             0 iterations replay the files as they are. */
#include <slipstream.h>

#include <stdio.h>
#include <stdlib.h>

#define REQUIRE(condition)                                                                \
    do {                                                                                  \
        if (!(condition)) {                                                               \
            fprintf(stderr, "line %d: %s does not hold\n", __LINE__, #condition);         \
            abort();                                                                      \
        }                                                                                 \
    } while (0)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

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

#ifdef FUZZ_MAIN
#include <string.h>

enum { MAX_SEEDS = 256, SCRATCH = 4096, MAX_JOINED = 3, MAX_MUTATIONS = 4 };

typedef struct seed {
    uint8_t *data;
    size_t len;
} seed;

static uint64_t state; /* xorshift64: never 0 */

static uint64_t draw(uint64_t below) {
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return (state >> 11) % below;
}

/* A number that sits on one of the layout's edges more often than not. */
static uint32_t edge(size_t len) {
    static const uint32_t edges[] = {0,  1,  5,  7,  8,  16, 32, 40,         47,
                                     48, 49, 56, 63, 64, 0xFFFFFFFF, 0xFFFFFFF8, 67108864};
    switch (draw(4)) {
    case 0:
        return edges[draw(sizeof edges / sizeof edges[0])];
    case 1:
        return (uint32_t)(len + draw(17) - 8);
    case 2:
        return (uint32_t)draw(len + 64) & ~7U;
    default:
        return (uint32_t)draw((uint64_t)1 << (1 + draw(32)));
    }
}

static void put_u32(uint8_t *p, uint32_t value) {
    for (int i = 0; i < 4; i++)
        p[i] = (uint8_t)(value >> (8 * i));
}

/* The first frame ends early and says so; nothing follows it. */
static size_t shorten(uint8_t *run, size_t len) {
    size_t payload;
    if (len < SLIPSTREAM_FRAME_HEADER_LEN)
        return len;
    payload = draw((len - SLIPSTREAM_FRAME_HEADER_LEN) / 2 + 1);
    payload = draw(2) ? payload : payload / 8;
    len = SLIPSTREAM_FRAME_HEADER_LEN + (payload + 7) / 8 * 8;
    put_u32(run, (uint32_t)len);
    put_u32(run + 12, (uint32_t)payload);
    return len;
}

static size_t mutate(uint8_t *run, size_t len) {
    const size_t at = len == 0 ? 0 : draw(draw(2) && len > 96 ? 96 : len);
    const uint32_t value = edge(len);
    const size_t word = at & ~(size_t)3;
    switch (len == 0 ? 5 : draw(7)) {
    case 0:
        run[at] = (uint8_t)value;
        return len;
    case 1:
        run[at] ^= (uint8_t)(1U << draw(8));
        return len;
    case 2:
        return draw(4) ? len : draw(len);
    case 3:
        run[6] = (uint8_t)draw(8); /* another kind */
        return len;
    case 4:
        return shorten(run, len);
    case 5:
        if (len + 8 > SCRATCH)
            return len;
        memset(run + len, (int)(value & 0xFF), 8);
        return len + 1 + draw(8);
    default:
        put_u32(run + word, value); /* the buffer goes on behind the run */
        return len;
    }
}

static seed load(const char *path) {
    seed loaded = {(uint8_t *)malloc(SCRATCH), 0};
    FILE *file = fopen(path, "rb");
    if (file == NULL || loaded.data == NULL) {
        perror(path);
        exit(2);
    }
    loaded.len = fread(loaded.data, 1, SCRATCH / MAX_JOINED, file);
    if (loaded.len < SLIPSTREAM_FRAME_HEADER_LEN || fgetc(file) != EOF) {
        fprintf(stderr, "%s: a seed has 48 to %d bytes\n", path, SCRATCH / MAX_JOINED);
        exit(2);
    }
    fclose(file);
    return loaded;
}

/* Runs on a copy of exactly this size, so that the sanitizer sees its ends. */
static void run_once(const uint8_t *run, size_t len) {
    uint8_t *exact = (uint8_t *)malloc(len);
    if (exact == NULL && len > 0)
        exit(2);
    if (len > 0)
        memcpy(exact, run, len);
    LLVMFuzzerTestOneInput(exact, len);
    free(exact);
}

int main(int argc, char **argv) {
    static uint8_t run[SCRATCH + 8];
    static seed seeds[MAX_SEEDS];
    const size_t count = argc > 3 ? (size_t)argc - 3 : 0;
    unsigned long long iterations;
    if (count == 0 || count > MAX_SEEDS) {
        fprintf(stderr, "usage: %s ITERATIONS SEED FRAME_FILE...\n", argv[0]);
        return 2;
    }
    iterations = strtoull(argv[1], NULL, 10);
    state = strtoull(argv[2], NULL, 10) * 2 + 1;
    for (size_t i = 0; i < count; i++) {
        seeds[i] = load(argv[i + 3]);
        run_once(seeds[i].data, seeds[i].len);
    }
    for (unsigned long long i = 0; i < iterations; i++) {
        size_t len = 0;
        for (uint64_t joined = 1 + draw(MAX_JOINED); joined > 0; joined--) {
            const seed *chosen = &seeds[draw(count)];
            memcpy(run + len, chosen->data, chosen->len);
            len += chosen->len;
        }
        for (uint64_t mutations = 1 + draw(MAX_MUTATIONS); mutations > 0; mutations--)
            len = mutate(run, len);
        run_once(run, len);
    }
    printf("%llu runs: %lu frames, %lu views, %lu malformed\n", iterations + count, seen.frames,
           seen.views, seen.malformed);
    for (size_t i = 0; i < count; i++)
        free(seeds[i].data);
    return 0;
}
#endif
