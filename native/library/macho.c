/* As <mach-o/loader.h>, <mach-o/fat.h> and the export trie of dyld lay it out. A file for several
 * machines ("fat") has a big-endian table of slices, each a whole Mach-O file. */
#include "library/macho.h"

#include "library/elf.h"
#include "library/exports.h"

#include <slipstream.h>
#include <string.h>

/* More than any library has; a file that claims more is damaged. */
enum { SEGMENTS_MAX = 64, COMMANDS_MAX = 4096, SLICES_MAX = 40 };
enum { SECTIONS_READ = 255, EDGES_READ = 65536, PIECE = 256 }; /* a section's number has 8 bits */
enum {
    MAGIC_64_LOW = 0xCF,
    COMMAND_LEN = 8,
    COMMAND_SEGMENT = 0x1,
    COMMAND_SEGMENT_64 = 0x19,
    COMMAND_INFO = 0x22,
    SEGMENT_WRITABLE = 2,
    SEGMENT_READ_ONLY = 0x10, /* once it is loaded */
    SECTION_TYPE = 0xFF,
    SECTION_SOME_CODE = 0x400,
    EXPORT_KIND = 3,
    EXPORT_FROM_OTHER = 8,
    ULEB_MAX = 10,
    TYPE_DYLIB = 6,
    TYPE_BUNDLE = 8,
};
#define COMMAND_INFO_ONLY 0x80000022u
#define COMMAND_TRIE 0x80000033u
#define SECTION_ONLY_CODE 0x80000000u
#define CPU_X86 7u
#define CPU_ARM 12u
#define CPU_64 0x01000000u

typedef struct segment {
    uint64_t address;
    uint64_t memory_size;
    uint64_t offset; /* from the slice's begin */
    uint64_t file_size;
    uint64_t sections; /* where their headers are in the file */
    uint32_t section_count;
    bool is_writable;
} segment;

typedef struct image {
    const ss_source *source;
    uint64_t at; /* the slice */
    uint64_t len;
    bool is_64;
    uint64_t base; /* the address of its header */
    uint64_t trie; /* from the slice's begin */
    uint64_t trie_len;
    uint64_t piece_at; /* a piece of it, read ahead */
    uint32_t piece_len;
    uint8_t piece[PIECE];
    uint32_t segment_count;
    segment segments[SEGMENTS_MAX];
} image;

static uint32_t big_u32(const uint8_t *p) {
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

static uint64_t load_word(const image *im, const uint8_t *p, uint32_t index) {
    return im->is_64 ? slipstream_load_u64(p + 8 * index) : slipstream_load_u32(p + 4 * index);
}

/* Bytes of the slice. */
static bool get(const image *im, uint64_t at, void *out, size_t len) {
    return at <= im->len && len <= im->len - at && ss_source_get(im->source, im->at + at, out, len);
}

/* ---- The export trie -------------------------------------------------------------------- */

static bool next_byte(image *im, uint64_t *at, uint8_t *out) {
    if (*at >= im->trie_len)
        return false;
    if (*at < im->piece_at || *at - im->piece_at >= im->piece_len) {
        const uint64_t left = im->trie_len - *at;
        im->piece_at = *at;
        im->piece_len = left < PIECE ? (uint32_t)left : PIECE;
        if (!get(im, im->trie + *at, im->piece, im->piece_len)) {
            im->piece_len = 0;
            return false;
        }
    }
    *out = im->piece[*at - im->piece_at];
    (*at)++;
    return true;
}

static bool next_uleb(image *im, uint64_t *at, uint64_t *out) {
    uint8_t byte = 0x80;
    *out = 0;
    for (uint32_t i = 0; (byte & 0x80) != 0; i++) {
        if (i == ULEB_MAX || !next_byte(im, at, &byte))
            return false;
        if (7 * i < 64)
            *out |= (uint64_t)(byte & 0x7F) << (7 * i);
    }
    return true;
}

/* Finds where a symbol's flags and address are; `name` without the underscore that C's have. A
 * node is the length of what it says of the name that ends there, that, the number of its
 * children, and for each of them the next letters and where it is. */
static bool find_node(image *im, const char *name, uint64_t *found) {
    char wanted[64] = "_";
    const char *rest = wanted;
    uint64_t node = 0;
    uint32_t bytes = 0;
    strncat(wanted, name, sizeof wanted - 2);
    for (;;) {
        uint64_t at = node;
        uint64_t len;
        uint8_t children;
        if (!next_uleb(im, &at, &len))
            return false;
        if (*rest == '\0') {
            *found = at;
            return len != 0;
        }
        if (len > im->trie_len - at)
            return false;
        at += len;
        if (!next_byte(im, &at, &children))
            return false;
        const char *behind = NULL;
        for (uint32_t i = 0; i < children && behind == NULL; i++) {
            const char *letter = rest;
            bool fits = true;
            uint8_t byte;
            while (next_byte(im, &at, &byte) && byte != 0 && bytes++ < EDGES_READ) {
                fits = fits && *letter == (char)byte;
                letter += fits;
            }
            if (at > im->trie_len || bytes >= EDGES_READ || !next_uleb(im, &at, &node))
                return false;
            if (fits && letter != rest)
                behind = letter; /* an edge without letters would lead round in a circle */
        }
        if (behind == NULL)
            return false;
        rest = behind;
    }
}

/* ---- Where an address lies ---------------------------------------------------------------- */

static void find_section(const image *im, const segment *in, uint64_t address, ss_export *out) {
    uint8_t head[80];
    const size_t len = im->is_64 ? 80 : 68;
    for (uint32_t i = 0; i < in->section_count && i < SECTIONS_READ; i++) {
        if (!get(im, in->sections + i * len, head, len))
            return;
        const uint64_t start = load_word(im, head + 32, 0);
        const uint64_t size = load_word(im, head + 32, 1);
        const uint32_t flags = slipstream_load_u32(head + (im->is_64 ? 64 : 56));
        const uint32_t type = flags & SECTION_TYPE;
        if (address < start || address - start >= size)
            continue;
        out->is_function = (flags & (SECTION_ONLY_CODE | SECTION_SOME_CODE)) != 0;
        out->is_data = !out->is_function;
        const uint64_t inside = address - in->address;
        const bool is_zero = type == 1 || type == 0xC || type == 0x12;
        if (is_zero || inside >= in->file_size || in->offset + inside >= im->len)
            return;
        out->at = im->at + in->offset + inside;
        out->room = size - (address - start);
        if (out->room > in->file_size - inside)
            out->room = in->file_size - inside;
        if (out->room > im->len - (in->offset + inside))
            out->room = im->len - (in->offset + inside);
        return;
    }
}

static bool find_export(void *image_of, const char *name, ss_export *out) {
    image *im = image_of;
    uint64_t at;
    uint64_t flags;
    uint64_t offset;
    if (!find_node(im, name, &at) || !next_uleb(im, &at, &flags) || !next_uleb(im, &at, &offset))
        return false;
    if ((flags & EXPORT_KIND) != 0 || (flags & EXPORT_FROM_OTHER) != 0)
        return true; /* neither a function nor data of its own */
    const uint64_t address = im->base + offset;
    out->is_data = true;
    for (uint32_t i = 0; i < im->segment_count; i++) {
        const segment *s = &im->segments[i];
        if (address >= s->address && address - s->address < s->memory_size) {
            out->is_writable = s->is_writable;
            find_section(im, s, address, out);
            break;
        }
    }
    return true;
}

/* ---- Load commands -------------------------------------------------------------------------- */

static bool read_segment(image *im, uint64_t at, uint32_t len) {
    uint8_t head[72];
    const size_t wanted = im->is_64 ? 72 : 56;
    if (im->segment_count == SEGMENTS_MAX || len < wanted || !get(im, at, head, wanted))
        return false;
    segment *s = &im->segments[im->segment_count++];
    const uint8_t *rest = head + (im->is_64 ? 56 : 40);
    s->address = load_word(im, head + 24, 0);
    s->memory_size = load_word(im, head + 24, 1);
    s->offset = load_word(im, head + 24, 2);
    s->file_size = load_word(im, head + 24, 3);
    s->section_count = slipstream_load_u32(rest + 8);
    s->sections = at + wanted;
    s->is_writable = (slipstream_load_u32(rest + 4) & SEGMENT_WRITABLE) != 0 &&
                     (slipstream_load_u32(rest + 12) & SEGMENT_READ_ONLY) == 0;
    if (s->offset > im->len || s->file_size > im->len - s->offset ||
        s->section_count > (len - wanted) / (im->is_64 ? 80 : 68))
        return false; /* cut off */
    if (s->offset == 0 && s->file_size != 0)
        im->base = s->address;
    return true;
}

static bool read_trie(image *im, uint64_t at, uint32_t len, uint32_t field) {
    uint8_t place[8];
    if (len < field + sizeof place || !get(im, at + field, place, sizeof place))
        return false;
    im->trie = slipstream_load_u32(place);
    im->trie_len = slipstream_load_u32(place + 4);
    return im->trie <= im->len && im->trie_len <= im->len - im->trie;
}

static bool read_image(image *im) {
    uint8_t head[28];
    uint8_t command[COMMAND_LEN];
    if (!get(im, 0, head, sizeof head))
        return false;
    const uint32_t count = slipstream_load_u32(head + 16);
    uint64_t at = im->is_64 ? 32 : 28;
    const uint64_t end = at + slipstream_load_u32(head + 20);
    if (count > COMMANDS_MAX || end > im->len)
        return false;
    for (uint32_t i = 0; i < count; i++) {
        if (!get(im, at, command, sizeof command))
            return false;
        const uint32_t type = slipstream_load_u32(command);
        const uint32_t len = slipstream_load_u32(command + 4);
        if (len < sizeof command || at > end || len > end - at)
            return false;
        if (type == (im->is_64 ? COMMAND_SEGMENT_64 : COMMAND_SEGMENT) &&
            !read_segment(im, at, len))
            return false;
        if ((type == COMMAND_INFO || type == COMMAND_INFO_ONLY) && !read_trie(im, at, len, 40))
            return false;
        if (type == COMMAND_TRIE && !read_trie(im, at, len, 8))
            return false;
        at += len;
    }
    return true;
}

/* ---- Slices --------------------------------------------------------------------------------- */

static const char *machine_name(uint32_t machine) {
    switch (machine) {
    case CPU_X86 | CPU_64:
        return "x86-64";
    case CPU_ARM | CPU_64:
        return "AArch64";
    case CPU_X86:
        return "x86";
    case CPU_ARM:
        return "ARM";
    default:
        return "an unknown machine";
    }
}

/* Finds the slice for this machine, else the first one. */
static bool choose_slice(image *im, bool is_wide, ss_file *out) {
    const char *own = ss_elf_machine_name(ss_elf_own_machine());
    uint8_t entry[32];
    const size_t len = is_wide ? 32 : 20;
    if (!get(im, 4, entry, 4))
        return false;
    const uint32_t count = big_u32(entry);
    if (count == 0 || count > SLICES_MAX) /* a class of Java begins in the same way */
        return false;
    const image whole = *im;
    for (uint32_t i = 0; i < count; i++) {
        if (!get(&whole, 8 + i * len, entry, len))
            return false;
        const bool fits = strcmp(machine_name(big_u32(entry)), own) == 0;
        if (i > 0 && !fits)
            continue;
        im->at = big_u32(entry + 8);
        im->len = big_u32(entry + 12);
        if (is_wide) {
            im->at = im->at << 32 | im->len;
            im->len = (uint64_t)big_u32(entry + 16) << 32 | big_u32(entry + 20);
        }
        if (im->at > whole.len || im->len > whole.len - im->at)
            return false;
        if (fits)
            break;
    }
    out->slices = count;
    return true;
}

static bool look(image *im, ss_file *out) {
    uint8_t head[16];
    if (!get(im, 0, head, 4))
        return false;
    if (head[0] == 0xCA && !choose_slice(im, head[3] == 0xBF, out))
        return false;
    if (!get(im, 0, head, sizeof head))
        return false;
    if (memcmp(head + 1, "\xFA\xED\xFE", 3) != 0)
        return false;
    im->is_64 = head[0] == MAGIC_64_LOW;
    out->bits = im->is_64 ? 64 : 32;
    out->machine = slipstream_load_u32(head + 4);
    out->machine_name = machine_name(out->machine);
    const uint32_t type = slipstream_load_u32(head + 12);
    out->is_program = type != TYPE_DYLIB && type != TYPE_BUNDLE;
    return read_image(im);
}

void ss_macho_look(const ss_source *source, ss_file *out) {
    image im = {.source = source, .len = source->len};
    if (look(&im, out))
        ss_exports_look(source, find_export, &im, out);
    else
        out->exports = SS_EXPORTS_DAMAGED;
}
