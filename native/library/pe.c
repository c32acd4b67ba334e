/* As Microsoft's "PE Format" lays it out. All is little-endian; an RVA is an address from where
 * the library is mapped. */
#include "library/pe.h"

#include "library/exports.h"

#include <slipstream.h>
#include <string.h>

enum {
    HEADER_AT = 0x3C,
    COFF_LEN = 24, /* with the signature before it */
    SECTION_LEN = 40,
    DIRECTORY_LEN = 40,
    SECTIONS_MAX = 96, /* the loader's own limit */
    MAGIC_32 = 0x10B,
    MAGIC_64 = 0x20B,
    SECTION_EXECUTABLE = 0x20000000,
    IMAGE_DLL = 0x2000,
};
#define SECTION_WRITABLE 0x80000000u

typedef struct section {
    uint32_t address; /* an RVA */
    uint32_t memory_size;
    uint32_t offset;
    uint32_t file_size;
    uint32_t flags;
} section;

typedef struct image {
    const ss_source *source;
    uint32_t section_count;
    section sections[SECTIONS_MAX];
    /* The export directory. */
    uint32_t exports;
    uint32_t exports_len;
    uint32_t function_count;
    uint32_t name_count;
    uint32_t functions;
    uint32_t names;
    uint32_t ordinals;
} image;

static const section *section_of(const image *im, uint32_t rva) {
    for (uint32_t i = 0; i < im->section_count; i++) {
        const section *s = &im->sections[i];
        const uint32_t size = s->memory_size > s->file_size ? s->memory_size : s->file_size;
        if (rva >= s->address && rva - s->address < size)
            return s;
    }
    return NULL;
}

/* Where the byte at an RVA lies in the file, and how many of its section's follow there. */
static uint64_t locate(const image *im, uint32_t rva, uint64_t *room) {
    const section *s = section_of(im, rva);
    *room = 0;
    if (s == NULL || rva - s->address >= s->file_size)
        return 0;
    const uint64_t at = (uint64_t)s->offset + (rva - s->address);
    if (at < im->source->len) {
        const uint64_t left = im->source->len - at;
        *room = s->file_size - (rva - s->address);
        *room = *room < left ? *room : left;
    }
    return at;
}

/* An element of an array at an RVA, `width` bytes wide. */
static bool get_element(const image *im, uint32_t array, uint32_t index, uint32_t width,
                        uint32_t *out) {
    uint8_t bytes[4] = {0};
    uint64_t room;
    const uint64_t at = locate(im, array, &room);
    if (((uint64_t)index + 1) * width > room ||
        !ss_source_get(im->source, at + (uint64_t)index * width, bytes, width))
        return false;
    *out = slipstream_load_u32(bytes);
    return true;
}

/* The names are sorted, as the loader itself wants them to be. */
static bool find_name(const image *im, const char *name, uint32_t *index) {
    uint32_t low = 0;
    uint32_t high = im->name_count;
    while (low < high) {
        const uint32_t middle = low + (high - low) / 2;
        uint32_t rva;
        uint64_t room;
        if (!get_element(im, im->names, middle, 4, &rva))
            return false;
        const uint64_t at = locate(im, rva, &room);
        const int order = ss_source_compare(im->source, at, room, name);
        if (order == 0) {
            *index = middle;
            return true;
        }
        if (order < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return false;
}

static bool find_export(void *image_of, const char *name, ss_export *out) {
    const image *im = image_of;
    uint32_t index;
    uint32_t number;
    uint32_t rva;
    if (!find_name(im, name, &index) || !get_element(im, im->ordinals, index, 2, &number) ||
        number >= im->function_count || !get_element(im, im->functions, number, 4, &rva))
        return false;
    if (rva >= im->exports && rva - im->exports < im->exports_len)
        return true; /* a text: which other library has it */
    const section *s = section_of(im, rva);
    out->is_function = s != NULL && (s->flags & SECTION_EXECUTABLE) != 0;
    out->is_data = !out->is_function;
    out->is_writable = s != NULL && (s->flags & SECTION_WRITABLE) != 0;
    out->at = locate(im, rva, &out->room);
    return true;
}

static const char *machine_name(uint32_t machine) {
    switch (machine) {
    case 0x8664:
        return "x86-64";
    case 0xAA64:
        return "AArch64";
    case 0x014C:
        return "x86";
    case 0x01C4:
        return "ARM";
    default:
        return "an unknown machine";
    }
}

static bool read_sections(image *im, uint64_t at, uint32_t count) {
    uint8_t head[SECTION_LEN];
    if (count > SECTIONS_MAX)
        return false;
    for (uint32_t i = 0; i < count; i++) {
        if (!ss_source_get(im->source, at + (uint64_t)i * sizeof head, head, sizeof head))
            return false;
        section *s = &im->sections[im->section_count++];
        s->memory_size = slipstream_load_u32(head + 8);
        s->address = slipstream_load_u32(head + 12);
        s->file_size = slipstream_load_u32(head + 16);
        s->offset = slipstream_load_u32(head + 20);
        s->flags = slipstream_load_u32(head + 36);
        if (s->memory_size != 0 && s->file_size > s->memory_size)
            s->file_size = s->memory_size; /* the rest is filling */
    }
    return true;
}

static bool read_exports(image *im) {
    uint8_t head[DIRECTORY_LEN];
    uint64_t room;
    if (im->exports == 0)
        return true; /* it exports nothing */
    const uint64_t at = locate(im, im->exports, &room);
    if (room < sizeof head || !ss_source_get(im->source, at, head, sizeof head))
        return false;
    im->function_count = slipstream_load_u32(head + 20);
    im->name_count = slipstream_load_u32(head + 24);
    im->functions = slipstream_load_u32(head + 28);
    im->names = slipstream_load_u32(head + 32);
    im->ordinals = slipstream_load_u32(head + 36);
    return true;
}

static bool read_image(image *im, ss_file *out) {
    uint8_t coff[COFF_LEN];
    uint8_t magic[2];
    uint8_t directory[12]; /* how many there are; the first one, which is that of exports */
    uint8_t start[4];
    if (!ss_source_get(im->source, HEADER_AT, start, sizeof start))
        return false;
    const uint64_t header = slipstream_load_u32(start);
    if (!ss_source_get(im->source, header, coff, sizeof coff) || memcmp(coff, "PE\0\0", 4) != 0)
        return false;
    out->machine = slipstream_load_u16(coff + 4);
    out->machine_name = machine_name(out->machine);
    out->is_program = (slipstream_load_u16(coff + 22) & IMAGE_DLL) == 0;
    const uint64_t optional = header + sizeof coff;
    if (!ss_source_get(im->source, optional, magic, sizeof magic))
        return false;
    const uint32_t kind = slipstream_load_u16(magic);
    if (kind != MAGIC_32 && kind != MAGIC_64)
        return false;
    out->bits = kind == MAGIC_64 ? 64 : 32;
    const uint32_t directories = kind == MAGIC_64 ? 108 : 92;
    const uint32_t optional_len = slipstream_load_u16(coff + 20);
    if (!ss_source_get(im->source, optional + directories, directory, sizeof directory))
        return false;
    if (slipstream_load_u32(directory) > 0 && optional_len >= directories + sizeof directory) {
        im->exports = slipstream_load_u32(directory + 4);
        im->exports_len = slipstream_load_u32(directory + 8);
    }
    return read_sections(im, optional + optional_len, slipstream_load_u16(coff + 6)) &&
           read_exports(im);
}

void ss_pe_look(const ss_source *source, ss_file *out) {
    image im = {.source = source};
    if (read_image(&im, out))
        ss_exports_look(source, find_export, &im, out);
    else
        out->exports = SS_EXPORTS_DAMAGED;
}
