/* elf_format: ELF files as the System V ABI lays them out (chapters 4 and 5), for systems that
 * have no elf.h. */
#ifndef SS_ELF_FORMAT_H
#define SS_ELF_FORMAT_H

#include <stdint.h>

enum {
    CLASS_AT = 4,
    DATA_AT = 5,
    IDENT = 16,
    CLASS_32 = 1,
    LITTLE_ENDIAN_DATA = 1,
    BIG_ENDIAN_DATA = 2
};
enum { TYPE_OBJECT = 1, TYPE_PROGRAM = 2, TYPE_SHARED = 3 };
enum { SEGMENT_LOAD = 1, SEGMENT_DYNAMIC = 2, SEGMENT_NOTE = 4, SEGMENT_WRITABLE = 2 };
enum { SYMBOL_NO_TYPE = 0, SYMBOL_OBJECT = 1, SYMBOL_FUNCTION = 2 };
enum { BIND_LOCAL = 0, VISIBLE_INTERNAL = 1, VISIBLE_HIDDEN = 2 };
enum { NOTE_BUILD_ID = 3, FLAG_NO_DELETE = 8, FLAG_PIE = 0x08000000 };
enum {
    DYNAMIC_END = 0,
    DYNAMIC_HASH = 4,
    DYNAMIC_NAMES = 5,
    DYNAMIC_SYMBOLS = 6,
    DYNAMIC_NAMES_LEN = 10,
    DYNAMIC_GNU_HASH = 0x6FFFFEF5,
    DYNAMIC_FLAGS_1 = 0x6FFFFFFB,
};
enum {
    MACHINE_X86 = 3,
    MACHINE_PPC64 = 21,
    MACHINE_S390 = 22,
    MACHINE_ARM = 40,
    MACHINE_X86_64 = 62,
    MACHINE_AARCH64 = 183,
    MACHINE_RISCV = 243,
};

/* The files are of this machine's own width and byte order, or refused before. */
#if UINTPTR_MAX > 0xFFFFFFFF
typedef uint64_t word;
enum { OWN_CLASS = 2, WORD_BITS = 64 };
#else
typedef uint32_t word;
enum { OWN_CLASS = CLASS_32, WORD_BITS = 32 };
#endif

typedef struct file_header {
    uint8_t ident[IDENT];
    uint16_t type;
    uint16_t machine;
    uint32_t version;
    word entry;
    word segments;
    word sections;
    uint32_t flags;
    uint16_t size;
    uint16_t segment_size;
    uint16_t segment_count;
    uint16_t section_size;
    uint16_t section_count;
    uint16_t section_names;
} file_header;

typedef struct segment {
    uint32_t type;
#if UINTPTR_MAX > 0xFFFFFFFF
    uint32_t flags;
#endif
    word offset;
    word address;
    word physical;
    word file_size;
    word memory_size;
#if UINTPTR_MAX <= 0xFFFFFFFF
    uint32_t flags;
#endif
    word align;
} segment;

typedef struct symbol {
    uint32_t name;
#if UINTPTR_MAX <= 0xFFFFFFFF
    word value;
    word size;
#endif
    uint8_t info;
    uint8_t other;
    uint16_t section; /* 0: it is defined elsewhere */
#if UINTPTR_MAX > 0xFFFFFFFF
    word value;
    word size;
#endif
} symbol;

typedef struct dynamic {
    word tag;
    word value;
} dynamic;

typedef struct note {
    uint32_t name_len;
    uint32_t text_len;
    uint32_t type;
} note;

#endif
