/* driver: runs a target of this folder without libFuzzer, on changes of files that any compiler's
 * sanitizers can look at. Usage: TARGET RUNS SEED FILE...; with 0 runs the files as they are. */
#include "fuzz.h"

enum { MAX_SEEDS = 512, SCRATCH = 512 * 1024, SMALL = 1365, MAX_JOINED = 3, MAX_MUTATIONS = 4 };

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

/* Of a frame: the first one ends early and says so; nothing follows it. */
static size_t shorten(uint8_t *run, size_t len) {
    enum { HEADER = 48 };
    size_t payload;
    if (len < HEADER)
        return len;
    payload = draw((len - HEADER) / 2 + 1);
    payload = draw(2) ? payload : payload / 8;
    len = HEADER + (payload + 7) / 8 * 8;
    put_u32(run, (uint32_t)len);
    put_u32(run + 12, (uint32_t)payload);
    return len;
}

/* Headers lie in front; what they point to may lie anywhere, often at the end. */
static size_t place(size_t len) {
    static const size_t fronts[] = {96, 96, 96, 1024, 4096};
    const size_t front = fronts[draw(sizeof fronts / sizeof fronts[0])];
    if (draw(2) && len > front)
        return draw(front);
    return len > 2048 && draw(4) == 0 ? len - 1 - draw(2048) : draw(len);
}

static size_t mutate(uint8_t *run, size_t len) {
    const size_t at = len == 0 ? 0 : place(len);
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
        if (len > 6)
            run[6] = (uint8_t)draw(8); /* of a frame: another kind */
        return len;
    case 4:
        return shorten(run, len);
    case 5:
        if (len + 8 > SCRATCH) /* what is joined may be more */
            return len;
        memset(run + len, (int)(value & 0xFF), 8);
        return len + 1 + draw(8);
    default:
        put_u32(run + word, value); /* the buffer goes on behind the run */
        return len;
    }
}

static seed load(const char *path) {
    seed loaded = {NULL, 0};
    FILE *file = fopen(path, "rb");
    if (file == NULL || fseek(file, 0, SEEK_END) != 0) {
        perror(path);
        exit(2);
    }
    loaded.len = (size_t)ftell(file);
    loaded.data = malloc(loaded.len + 1);
    rewind(file);
    if (loaded.len > SCRATCH || loaded.data == NULL ||
        fread(loaded.data, 1, loaded.len, file) != loaded.len) {
        fprintf(stderr, "%s: a seed has at most %d bytes\n", path, SCRATCH);
        exit(2);
    }
    fclose(file);
    return loaded;
}

/* Runs on a copy of exactly this size, so that the sanitizer sees its ends. */
static void run_once(const uint8_t *run, size_t len) {
    uint8_t *exact = malloc(len);
    if (exact == NULL && len > 0)
        exit(2);
    if (len > 0)
        memcpy(exact, run, len);
    LLVMFuzzerTestOneInput(exact, len);
    free(exact);
}

int main(int argc, char **argv) {
    static uint8_t run[SCRATCH + MAX_JOINED * SMALL + 64];
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
            if (len > 0 && chosen->len > SMALL)
                continue;
            memcpy(run + len, chosen->data, chosen->len);
            len += chosen->len;
        }
        for (uint64_t mutations = 1 + draw(MAX_MUTATIONS); mutations > 0; mutations--)
            len = mutate(run, len);
        run_once(run, len);
    }
    printf("%llu runs: ", iterations + count);
    fuzz_tell();
    for (size_t i = 0; i < count; i++)
        free(seeds[i].data);
    return 0;
}
