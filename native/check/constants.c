#include "check/constants.h"

#include <link.h>
#include <stdbool.h>
#include <string.h>

typedef struct search {
    uintptr_t function;
    uint64_t *out;
    size_t room;
    size_t count;
} search;

static void add(search *it, uint64_t number) {
    for (size_t i = 0; i < it->count; i++)
        if (it->out[i] == number)
            return;
    if (it->count < it->room && number != 0)
        it->out[it->count++] = number;
}

#if defined(__x86_64__)
/* An immediate of cmp, sub, xor, and or test, or one that a register is given. What is taken for
 * one and is none does no harm. `at` is where the number stands, of `bytes` bytes. */
static bool is_immediate(const uint8_t *at, size_t bytes) {
    const uint8_t group = bytes == 1 ? 0x83 : 0x81;
    static const size_t behind[] = {2, 3, 4, 6, 7}; /* opcode, ModRM, perhaps SIB, displacement */
    for (size_t i = 0; i < sizeof behind / sizeof behind[0]; i++) {
        const uint8_t *opcode = at - behind[i];
        if (opcode[0] == group && (opcode[1] >> 3 & 7) >= 4)
            return true;
    }
    if (bytes == 1)
        return at[-1] == 0x3C;
    return at[-1] == 0x3D || at[-1] == 0x35 || at[-1] == 0x2D || (at[-1] & 0xF8) == 0xB8;
}

static void search_code(search *it, const uint8_t *code, size_t len) {
    for (size_t i = 8; i + 4 <= len; i++) {
        uint32_t number;
        memcpy(&number, code + i, sizeof number);
        if (is_immediate(code + i, 4))
            add(it, number);
        if (is_immediate(code + i, 1))
            add(it, code[i]);
    }
}
#elif defined(__aarch64__)
static void search_code(search *it, const uint8_t *code, size_t len) {
    for (size_t i = 0; i + 4 <= len; i += 4) {
        uint32_t word;
        memcpy(&word, code + i, sizeof word);
        if ((word & 0x7F800000) == 0x52800000) /* MOVZ */
            add(it, word >> 5 & 0xFFFF);
        if ((word & 0x7F800000) == 0x71000000) /* SUBS, which CMP is */
            add(it, word >> 10 & 0xFFF);
    }
}
#else
static void search_code(search *it, const uint8_t *code, size_t len) {
    for (size_t i = 0; i + 4 <= len; i++) {
        uint32_t number;
        memcpy(&number, code + i, sizeof number);
        if (number < 1U << 20)
            add(it, number);
    }
}
#endif

static int look(struct dl_phdr_info *info, size_t size, void *argument) {
    search *it = argument;
    bool is_it = false;
    (void)size;
    for (int i = 0; i < info->dlpi_phnum; i++) {
        const uintptr_t start = info->dlpi_addr + info->dlpi_phdr[i].p_vaddr;
        is_it = is_it || (info->dlpi_phdr[i].p_type == PT_LOAD && it->function >= start &&
                          it->function - start < info->dlpi_phdr[i].p_memsz);
    }
    for (int i = 0; is_it && i < info->dlpi_phnum; i++) {
        const ElfW(Phdr) *segment = &info->dlpi_phdr[i];
        const uint32_t readable_code = PF_R | PF_X;
        if (segment->p_type == PT_LOAD && (segment->p_flags & readable_code) == readable_code)
            search_code(it, (const uint8_t *)(info->dlpi_addr + segment->p_vaddr),
                        segment->p_filesz);
    }
    return is_it;
}

size_t ss_constants_of(uintptr_t function, uint64_t *out, size_t room) {
    search it = {function, out, room, 0};
    dl_iterate_phdr(look, &it);
    return it.count;
}
