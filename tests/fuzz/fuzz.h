/* fuzz: what each target of this folder is, with libFuzzer (clang -fsanitize=fuzzer) or with
 * driver.c: one function that takes any bytes, and ends the process where something is wrong. */
#ifndef FUZZ_H
#define FUZZ_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define REQUIRE(condition)                                                                \
    do {                                                                                  \
        if (!(condition)) {                                                               \
            fprintf(stderr, "%s:%d: %s does not hold\n", __FILE__, __LINE__, #condition); \
            abort();                                                                      \
        }                                                                                 \
    } while (0)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
/* Says in a line how far the inputs came. */
void fuzz_tell(void);

/* ---- An input that says what to do ------------------------------------------------------- */

typedef struct fuzz_input {
    const uint8_t *at;
    size_t left;
} fuzz_input;

/* Fills `out`; with zeros where the input has ended. */
static inline void fuzz_take(fuzz_input *in, void *out, size_t len) {
    const size_t there = len < in->left ? len : in->left;
    memset(out, 0, len);
    if (there > 0)
        memcpy(out, in->at, there);
    in->at += there;
    in->left -= there;
}

static inline uint8_t fuzz_u8(fuzz_input *in) {
    uint8_t value;
    fuzz_take(in, &value, sizeof value);
    return value;
}

static inline uint16_t fuzz_u16(fuzz_input *in) {
    uint16_t value;
    fuzz_take(in, &value, sizeof value);
    return value;
}

static inline uint32_t fuzz_u32(fuzz_input *in) {
    uint32_t value;
    fuzz_take(in, &value, sizeof value);
    return value;
}

static inline uint64_t fuzz_u64(fuzz_input *in) {
    uint64_t value;
    fuzz_take(in, &value, sizeof value);
    return value;
}

/* Reads all of it, so that the sanitizer sees whether it is there. */
static inline void fuzz_touch(const void *data, size_t len) {
    const volatile uint8_t *bytes = data;
    for (size_t i = 0; i < len; i++)
        (void)bytes[i];
}

#endif
