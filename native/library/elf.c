#include "library/elf.h"

#include "library/elf_format.h"
#include "library/exports.h"

#include <slipstream.h>
#include <stdio.h>
#include <string.h>

/* More than any library has; a file that claims more is not searched for long. */
enum {
    SEGMENTS_READ = 64,
    NOTES_READ = 64,
    DYNAMICS_READ = 16384,
    CHAIN_READ = 16384,
    BUILD_ID_MAX = 64
};

typedef struct image {
    const ss_source *source;
    uint64_t segments; /* file offset of the program headers */
    uint32_t segment_count;
    uint64_t symbols; /* file offsets */
    uint64_t names;
    uint64_t names_len;
    uint64_t gnu_hash;
    uint64_t hash;
} image;

static bool get(const image *im, uint64_t at, void *out, size_t len) {
    return ss_source_get(im->source, at, out, len);
}

static bool get_u32(const image *im, uint64_t at, uint32_t *out) {
    return get(im, at, out, sizeof *out);
}

static bool get_segment(const image *im, uint32_t index, segment *out) {
    return get(im, im->segments + (uint64_t)index * sizeof *out, out, sizeof *out);
}

/* The segment that the byte at a virtual address belongs to. */
static bool find_segment(const image *im, uint64_t address, segment *out) {
    for (uint32_t i = 0; i < im->segment_count; i++)
        if (get_segment(im, i, out) && out->type == SEGMENT_LOAD && address >= out->address &&
            address - out->address < out->memory_size)
            return true;
    return false;
}

/* Where that byte lies in the file; 0 if nowhere. */
static uint64_t file_offset(const image *im, uint64_t address) {
    segment s;
    if (address == 0 || !find_segment(im, address, &s) || address - s.address >= s.file_size)
        return 0;
    return address - s.address + s.offset;
}

static bool name_is(const image *im, uint64_t offset, const char *wanted) {
    return offset < im->names_len &&
           ss_source_compare(im->source, im->names + offset, im->names_len - offset, wanted) == 0;
}

/* True if symbol number `index` is a definition that others can see, named `name`. */
static bool matches(const image *im, uint32_t index, const char *name, symbol *out) {
    return get(im, im->symbols + (uint64_t)index * sizeof *out, out, sizeof *out) &&
           name_is(im, out->name, name) && out->section != 0 && (out->info >> 4) != BIND_LOCAL &&
           (out->other & 3) != VISIBLE_HIDDEN && (out->other & 3) != VISIBLE_INTERNAL;
}

static bool find_by_gnu_hash(const image *im, const char *name, symbol *out) {
    uint32_t head[4]; /* buckets, first symbol, bloom words, bloom shift */
    uint32_t hash = 5381;
    uint32_t index;
    uint32_t link;
    uint32_t steps = 0;
    for (const char *p = name; *p != '\0'; p++)
        hash = hash * 33 + (uint8_t)*p;
    if (!get(im, im->gnu_hash, head, sizeof head) || head[0] == 0)
        return false;
    const uint64_t buckets = im->gnu_hash + sizeof head + (uint64_t)head[2] * (WORD_BITS / 8);
    const uint64_t chain = buckets + (uint64_t)head[0] * 4;
    if (!get_u32(im, buckets + (uint64_t)(hash % head[0]) * 4, &index) || index < head[1])
        return false;
    do {
        if (!get_u32(im, chain + (uint64_t)(index - head[1]) * 4, &link))
            return false;
        if ((link | 1) == (hash | 1) && matches(im, index, name, out))
            return true;
        index++;
    } while ((link & 1) == 0 && index != 0 && steps++ < CHAIN_READ);
    return false;
}

static bool find_by_hash(const image *im, const char *name, symbol *out) {
    uint32_t head[2]; /* buckets, chains */
    uint32_t hash = 0;
    uint32_t index;
    for (const char *p = name; *p != '\0'; p++) {
        hash = (hash << 4) + (uint8_t)*p;
        hash ^= (hash & 0xF0000000) >> 24;
        hash &= 0x0FFFFFFF;
    }
    if (!get(im, im->hash, head, sizeof head) || head[0] == 0)
        return false;
    const uint64_t chain = im->hash + sizeof head + (uint64_t)head[0] * 4;
    uint32_t steps = 0;
    if (!get_u32(im, im->hash + sizeof head + (uint64_t)(hash % head[0]) * 4, &index))
        return false;
    while (index != 0 && steps++ < CHAIN_READ) { /* a chain may be a circle */
        if (matches(im, index, name, out))
            return true;
        if (!get_u32(im, chain + (uint64_t)index * 4, &index))
            return false;
    }
    return false;
}

static bool find_symbol(const image *im, const char *name, symbol *out) {
    if (im->symbols == 0 || im->names == 0)
        return false;
    return (im->gnu_hash != 0 && find_by_gnu_hash(im, name, out)) ||
           (im->hash != 0 && find_by_hash(im, name, out));
}

static bool find_export(void *image_of, const char *name, ss_export *out) {
    const image *im = image_of;
    symbol found;
    segment s;
    if (!find_symbol(im, name, &found))
        return false;
    const uint8_t type = found.info & 15;
    out->is_function = type == SYMBOL_FUNCTION;
    out->is_data = type == SYMBOL_NO_TYPE || type == SYMBOL_OBJECT;
    if (!find_segment(im, found.value, &s))
        return true;
    const uint64_t inside = found.value - s.address;
    out->is_writable = (s.flags & SEGMENT_WRITABLE) != 0;
    out->at = s.offset + inside;
    out->room = inside < s.file_size ? s.file_size - inside : 0;
    if (found.size != 0 && found.size < out->room)
        out->room = found.size;
    return true;
}

static bool read_dynamic(image *im, const segment *s, ss_file *out) {
    dynamic d = {0};
    uint64_t names = 0;
    uint64_t symbols = 0;
    uint64_t gnu_hash = 0;
    uint64_t hash = 0;
    const uint64_t count = s->file_size / sizeof d;
    for (uint64_t i = 0; i < count; i++) {
        if (i == DYNAMICS_READ || !get(im, s->offset + i * sizeof d, &d, sizeof d))
            return false;
        if (d.tag == DYNAMIC_END)
            break;
        if (d.tag == DYNAMIC_SYMBOLS)
            symbols = d.value;
        else if (d.tag == DYNAMIC_NAMES)
            names = d.value;
        else if (d.tag == DYNAMIC_NAMES_LEN)
            im->names_len = d.value;
        else if (d.tag == DYNAMIC_GNU_HASH)
            gnu_hash = d.value;
        else if (d.tag == DYNAMIC_HASH)
            hash = d.value;
        else if (d.tag == DYNAMIC_FLAGS_1) {
            out->no_delete = (d.value & FLAG_NO_DELETE) != 0;
            if ((d.value & FLAG_PIE) != 0)
                out->kind = SS_FILE_PROGRAM;
        }
    }
    im->symbols = file_offset(im, symbols);
    im->names = file_offset(im, names);
    im->gnu_hash = file_offset(im, gnu_hash);
    im->hash = file_offset(im, hash);
    return true;
}

/* Looks for a note of an owner, whose name has four bytes with its NUL, among the first ones
 * of a segment. Any type will do if `type` is 0. Where its text lies goes to *text. */
static bool find_note(const image *im, const segment *s, const char *owner, uint32_t type,
                      uint64_t *text, uint32_t *len) {
    const uint64_t mask = s->align == 8 ? 7 : 3;
    uint64_t at = s->offset;
    const uint64_t end = s->offset + s->file_size;
    note n;
    char name[4];
    for (int i = 0; i < NOTES_READ && at < end && get(im, at, &n, sizeof n); i++) {
        *text = at + (((uint64_t)n.name_len + sizeof n + mask) & ~mask);
        *len = n.text_len;
        if (n.name_len == 4 && (type == 0 || n.type == type) && get(im, at + sizeof n, name, 4) &&
            memcmp(name, owner, 4) == 0)
            return true;
        at = *text + ((n.text_len + mask) & ~mask);
    }
    return false;
}

/* Reads a library of this machine's width and byte order. */
static uint32_t read_image(image *im, ss_file *out) {
    file_header h;
    segment s;
    segment dynamics = {0};
    uint64_t text;
    uint32_t text_len;
    if (!get(im, 0, &h, sizeof h))
        return SS_FILE_DAMAGED;
    if (h.type == TYPE_OBJECT || h.type == TYPE_PROGRAM)
        return h.type == TYPE_OBJECT ? SS_FILE_OBJECT : SS_FILE_PROGRAM;
    if (h.type != TYPE_SHARED || h.segment_size != sizeof s || h.segment_count == 0)
        return SS_FILE_DAMAGED;
    im->segments = h.segments;
    im->segment_count = h.segment_count;
    for (uint32_t i = 0; i < im->segment_count; i++) {
        if (!get_segment(im, i, &s) || s.offset > im->source->len ||
            s.file_size > im->source->len - s.offset)
            return SS_FILE_DAMAGED; /* cut off: the loader would map what is not there */
        if (s.type == SEGMENT_DYNAMIC)
            dynamics = s;
        /* A library made by Go carries a note of the owner "Go". */
        if (s.type == SEGMENT_NOTE && i < SEGMENTS_READ &&
            find_note(im, &s, "Go\0", 0, &text, &text_len))
            out->is_go = true;
    }
    out->kind = SS_FILE_ELF;
    if (dynamics.type != SEGMENT_DYNAMIC || !read_dynamic(im, &dynamics, out))
        return SS_FILE_DAMAGED;
    return out->kind;
}

void ss_elf_look(const ss_source *source, ss_file *out) {
    image im = {.source = source};
    uint8_t head[IDENT + 4];
    if (!ss_source_get(source, 0, head, sizeof head))
        return;
    const bool big = head[DATA_AT] == BIG_ENDIAN_DATA;
    out->bits = head[CLASS_AT] == CLASS_32 ? 32 : 64;
    out->machine = (uint32_t)(big ? head[18] << 8 | head[19] : head[19] << 8 | head[18]);
    out->machine_name = ss_elf_machine_name(out->machine);
    const bool foreign = head[CLASS_AT] != OWN_CLASS || head[DATA_AT] != LITTLE_ENDIAN_DATA;
    const uint32_t kind = foreign ? SS_FILE_FOREIGN : read_image(&im, out);
    out->kind = out->machine == ss_elf_own_machine() ? kind : SS_FILE_FOREIGN;
    if (kind == SS_FILE_ELF)
        ss_exports_look(source, find_export, &im, out);
    else if (kind == SS_FILE_DAMAGED)
        out->exports = SS_EXPORTS_DAMAGED;
}

static void read_build_id(const image *im, uint32_t segments, char *out, size_t room) {
    uint8_t id[BUILD_ID_MAX];
    uint64_t text;
    uint32_t len;
    segment s;
    for (uint32_t i = 0; i < segments && i < SEGMENTS_READ && get_segment(im, i, &s); i++) {
        const uint64_t len_of_file = im->source->len;
        if (s.type != SEGMENT_NOTE || s.offset > len_of_file ||
            s.file_size > len_of_file - s.offset ||
            !find_note(im, &s, "GNU", NOTE_BUILD_ID, &text, &len))
            continue;
        if (len <= sizeof id && 2 * (size_t)len < room && get(im, text, id, len))
            for (uint32_t k = 0; k < len; k++)
                snprintf(out + 2 * k, 3, "%02x", id[k]);
        return;
    }
}

void ss_elf_build_id(int fd, size_t len, char *out, size_t room) {
    const ss_source source = {.fd = fd, .len = len};
    image im = {.source = &source};
    file_header h;
    if (get(&im, 0, &h, sizeof h) && memcmp(h.ident, "\177ELF", 4) == 0 &&
        h.ident[CLASS_AT] == OWN_CLASS && h.ident[DATA_AT] == LITTLE_ENDIAN_DATA &&
        h.segment_size == sizeof(segment)) {
        im.segments = h.segments;
        read_build_id(&im, h.segment_count, out, room);
    }
}

uint32_t ss_elf_own_machine(void) {
#if defined(__x86_64__)
    return MACHINE_X86_64;
#elif defined(__aarch64__)
    return MACHINE_AARCH64;
#elif defined(__i386__)
    return MACHINE_X86;
#elif defined(__arm__)
    return MACHINE_ARM;
#elif defined(__riscv)
    return MACHINE_RISCV;
#else
#error "this machine is not known to the loader yet"
#endif
}

const char *ss_elf_machine_name(uint32_t machine) {
    static const struct {
        uint16_t machine;
        const char *name;
    } names[] = {
        {MACHINE_X86_64, "x86-64"}, {MACHINE_AARCH64, "AArch64"}, {MACHINE_X86, "x86"},
        {MACHINE_ARM, "ARM"},       {MACHINE_RISCV, "RISC-V"},    {MACHINE_PPC64, "PowerPC 64"},
        {MACHINE_S390, "S/390"},
    };
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        if (names[i].machine == machine)
            return names[i].name;
    return "an unknown machine";
}
