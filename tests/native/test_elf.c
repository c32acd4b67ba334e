/* ss_elf_look on mutations of real libraries. Arguments: iterations, libraries. */
#include "check.h"
#include "elf_file.h"

#include <elf.h>
#include <string.h>

enum { KEPT = 64 * 1024 };

static uint8_t *load(const char *path, size_t *len) {
    uint8_t *bytes = malloc(KEPT);
    FILE *file = fopen(path, "rb");
    REQUIRE(bytes != NULL && file != NULL);
    *len = fread(bytes, 1, KEPT, file);
    fclose(file);
    return bytes;
}

/* Where a change is likely to be looked at: the header, the segments, the dynamic section
 * and what it points to all lie in the first part of a small library. */
static size_t place(size_t len) {
    switch (random_below(4)) {
    case 0:
        return random_below(len < 64 ? len : 64);
    case 1:
        return random_below(len < 1024 ? len : 1024);
    case 2:
        return random_below(len < 4096 ? len : 4096);
    default:
        return random_below(len);
    }
}

static void change(uint8_t *bytes, size_t len) {
    static const uint64_t values[] = {0, 1, 4, 8, 0x7F, 0xFF, 0xFFFF, 0x7FFFFFFF, 0x80000000,
                                      0xFFFFFFFF, 0x7FFFFFFFFFFFFFFF, 0xFFFFFFFFFFFFFFF0, UINT64_MAX};
    const size_t at = place(len);
    const uint64_t value = values[random_below(sizeof values / sizeof values[0])];
    const size_t width = (size_t)1 << random_below(4);
    switch (random_below(3)) {
    case 0:
        bytes[at] ^= (uint8_t)(1 << random_below(8));
        break;
    case 1:
        bytes[at] = (uint8_t)random_u64();
        break;
    default:
        memcpy(bytes + at, &value, width < len - at ? width : len - at);
    }
}

/* Every word of the first pages replaced, with the true size of the string table and with
 * one that covers everything. */
static void replace_each_word(const uint8_t *whole, size_t len) {
    static const uint32_t values[] = {0, 0x7FFFFFFF, 0xFFFFFF00, 0xFFFFFFFF};
    static const uint64_t sizes[] = {0, INT64_MAX, UINT64_MAX};
    const size_t until = len < 8192 ? len : 8192;
    uint8_t *exact = malloc(len);
    ss_elf seen;
    for (size_t s = 0; s < sizeof sizes / sizeof sizes[0]; s++)
        for (size_t at = 0; at + 4 <= until; at += 4)
            for (size_t v = 0; v < sizeof values / sizeof values[0]; v++) {
                memcpy(exact, whole, len);
                for (size_t d = 0; sizes[s] != 0 && d + 16 <= len; d += 8)
                    if (exact[d] == DT_STRSZ && memcmp(exact + d + 1, "\0\0\0\0\0\0", 7) == 0)
                        memcpy(exact + d + 8, &sizes[s], 8);
                memcpy(exact + at, &values[v], 4);
                ss_elf_look(exact, len, &seen);
            }
    free(exact);
}

int main(int argc, char **argv) {
    unsigned long kinds[SS_FILE_FOREIGN + 1] = {0};
    unsigned long constructors = 0;
    ss_elf seen;
    REQUIRE(argc > 2);
    const long iterations = atol(argv[1]);
    ss_elf_look((const uint8_t *)"", 0, &seen);
    REQUIRE(seen.kind == SS_FILE_EMPTY);
    for (int f = 2; f < argc; f++) {
        size_t len;
        uint8_t *whole = load(argv[f], &len);
        ss_elf_look(whole, len, &seen);
        REQUIRE(seen.kind == SS_FILE_ELF && seen.has_constructor && seen.constructor_is_function);
        REQUIRE(!seen.has_rust_constructor && seen.other_major == 0 && !seen.is_go);
        replace_each_word(whole, len);
        for (size_t cut = 0; cut < len; cut += 1 + cut / 64) {
            uint8_t *exact = malloc(cut == 0 ? 1 : cut);
            memcpy(exact, whole, cut);
            ss_elf_look(exact, cut, &seen);
            free(exact);
        }
        for (long i = 0; i < iterations; i++) {
            const size_t cut = random_below(20) == 0 ? random_below(len) + 1 : len;
            uint8_t *exact = malloc(cut);
            memcpy(exact, whole, cut);
            for (size_t changes = 1 + random_below(4); changes > 0; changes--)
                change(exact, cut);
            ss_elf_look(exact, cut, &seen);
            REQUIRE(seen.kind <= SS_FILE_FOREIGN);
            kinds[seen.kind]++;
            constructors += seen.has_constructor;
            free(exact);
        }
        free(whole);
    }
    REQUIRE(kinds[SS_FILE_ELF] > (unsigned long)iterations / 10);
    REQUIRE(kinds[SS_FILE_DAMAGED] > 0 && kinds[SS_FILE_FOREIGN] > 0);
    REQUIRE(constructors < kinds[SS_FILE_ELF]);
    printf("elf: %ld mutations of each of %d files; %lu still libraries, %lu damaged\n", iterations,
           argc - 2, kinds[SS_FILE_ELF], kinds[SS_FILE_DAMAGED]);
    return 0;
}
