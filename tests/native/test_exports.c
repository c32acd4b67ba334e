/* ss_file_look on mutations of libraries of every format: what it says of an info is so, and no
 * byte outside of the file is read. Arguments: iterations, seed, libraries. */
#include "check.h"
#include "library/file.h"

#include <slipstream.h>
#include <string.h>
#include <time.h>

enum { KEPT = 256 * 1024, LONGEST_MS = 2000 };

static unsigned long there, damaged, misplaced;

static uint8_t *load(const char *path, size_t *len) {
    uint8_t *bytes = malloc(KEPT);
    FILE *file = fopen(path, "rb");
    REQUIRE(bytes != NULL && file != NULL);
    *len = fread(bytes, 1, KEPT, file);
    REQUIRE(fgetc(file) == EOF);
    fclose(file);
    return bytes;
}

static uint64_t now_ms(void) {
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

/* On a copy of exactly this size, so that the sanitizer sees its ends. */
static void look(const uint8_t *bytes, size_t len, ss_file *seen) {
    static ss_refusal why;
    uint8_t *exact = malloc(len);
    const ss_source source = {.file = exact, .len = len};
    const size_t magic = sizeof SLIPSTREAM_INFO_MAGIC - 1;
    REQUIRE(exact != NULL || len == 0);
    memcpy(exact, bytes, len);
    const uint64_t begin = now_ms();
    ss_file_look(&source, seen);
    REQUIRE(now_ms() - begin < LONGEST_MS); /* a hostile count leads to no endless search */
    REQUIRE(seen->info <= SS_INFO_NOT_ENDED && seen->machine_name != NULL);
    if (seen->info == SS_INFO_THERE) {
        REQUIRE(seen->exports == SS_EXPORTS_READ && seen->info_at >= magic);
        REQUIRE(magic + seen->info_len < SLIPSTREAM_INFO_MAX);
        REQUIRE(seen->info_at + seen->info_len < len && exact[seen->info_at + seen->info_len] == 0);
        REQUIRE(memcmp(exact + seen->info_at - magic, SLIPSTREAM_INFO_MAGIC, magic) == 0);
        REQUIRE(memchr(exact + seen->info_at, 0, seen->info_len) == NULL);
        there++;
    }
    misplaced += seen->info > SS_INFO_THERE;
    damaged += seen->exports == SS_EXPORTS_DAMAGED;
    /* Whatever it is, there is a verdict. */
    const bool own = ss_file_check_kind("x", seen, &why);
    REQUIRE(own || (why.text[0] != '\0' && why.hint[0] != '\0'));
    const bool good = ss_file_check_exports("x", seen, &why);
    REQUIRE(good || (why.text[0] != '\0' && why.hint[0] != '\0'));
    free(exact);
}

static void change(uint8_t *bytes, size_t len) {
    static const uint64_t values[] = {0,          1,          2,          0x7F,
                                      0xFF,       0xFFFF,     0x10000,    0x7FFFFFFF,
                                      0x80000000, 0xFFFFFFFF, 0x7FFFFFFFFFFFFFFF, UINT64_MAX};
    /* Headers lie in front; what they point to may lie anywhere, often at the end. */
    const size_t near = random_below(2) ? 256 : 2048;
    size_t at = random_below(random_below(3) && len > near ? near : len);
    if (random_below(4) == 0 && len > near)
        at = len - 1 - random_below(near);
    const uint64_t value = values[random_below(sizeof values / sizeof values[0])];
    const size_t width = (size_t)1 << random_below(4);
    switch (random_below(4)) {
    case 0:
        bytes[at] ^= (uint8_t)(1 << random_below(8));
        break;
    case 1:
        bytes[at] = (uint8_t)random_u64();
        break;
    case 2:
        bytes[at] = (uint8_t)(bytes[at] + (random_below(2) ? 1 : 255));
        break;
    default:
        memcpy(bytes + at, &value, width < len - at ? width : len - at);
    }
}

int main(int argc, char **argv) {
    ss_file seen;
    REQUIRE(argc > 3);
    const long iterations = atol(argv[1]);
    random_state ^= strtoull(argv[2], NULL, 10);
    for (int f = 3; f < argc; f++) {
        size_t len;
        uint8_t *whole = load(argv[f], &len);
        uint8_t *changed = malloc(len);
        REQUIRE(changed != NULL);
        look(whole, len, &seen);
        REQUIRE(seen.has_constructor && seen.constructor_is_function);
        REQUIRE(seen.info == SS_INFO_THERE);
        for (size_t cut = 0; cut < len; cut += 1 + cut / 64)
            look(whole, cut, &seen);
        for (long i = 0; i < iterations; i++) {
            const size_t cut = random_below(20) == 0 ? random_below(len) + 1 : len;
            memcpy(changed, whole, len);
            for (size_t changes = 1 + random_below(4); changes > 0; changes--)
                change(changed, cut);
            look(changed, cut, &seen);
        }
        free(changed);
        free(whole);
    }
    REQUIRE(there > (unsigned long)iterations / 10 && damaged > 0 && misplaced > 0);
    printf("exports: %ld mutations of each of %d files: %lu infos read, %lu misplaced, "
           "%lu damaged\n",
           iterations, argc - 3, there, misplaced, damaged);
    return 0;
}
