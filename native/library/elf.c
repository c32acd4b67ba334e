#include "library/elf.h"

#include <elf.h>
#include <slipstream.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* More than any library has; a file that claims more is not searched for long. */
enum { SEGMENTS_READ = 64, NOTES_READ = 64, BUILD_ID_MAX = 64 };

/* The files are of this machine's own width and byte order, or refused before. */
#if UINTPTR_MAX > 0xFFFFFFFF
typedef Elf64_Ehdr file_header;
typedef Elf64_Phdr segment;
typedef Elf64_Dyn dynamic;
typedef Elf64_Sym symbol;
typedef Elf64_Nhdr note;
enum { OWN_CLASS = ELFCLASS64, WORD_BITS = 64 };
#else
typedef Elf32_Ehdr file_header;
typedef Elf32_Phdr segment;
typedef Elf32_Dyn dynamic;
typedef Elf32_Sym symbol;
typedef Elf32_Nhdr note;
enum { OWN_CLASS = ELFCLASS32, WORD_BITS = 32 };
#endif

typedef struct image {
    const uint8_t *file; /* NULL: `fd` is read piece by piece */
    int fd;
    size_t len;
    uint64_t segments; /* file offset of the program headers */
    uint32_t segment_count;
    uint64_t symbols; /* file offsets */
    uint64_t names;
    uint64_t names_len;
    uint64_t gnu_hash;
    uint64_t hash;
} image;

static bool get(const image *im, uint64_t at, void *out, size_t len) {
    if (at > im->len || len > im->len - at)
        return false;
    if (im->file == NULL)
        return pread(im->fd, out, len, (off_t)at) == (ssize_t)len;
    memcpy(out, im->file + at, len);
    return true;
}

static bool get_u32(const image *im, uint64_t at, uint32_t *out) {
    return get(im, at, out, sizeof *out);
}

static bool get_segment(const image *im, uint32_t index, segment *out) {
    return get(im, im->segments + (uint64_t)index * sizeof *out, out, sizeof *out);
}

/* Where the byte at a virtual address lies in the file; 0 if nowhere. */
static uint64_t file_offset(const image *im, uint64_t address) {
    segment s;
    for (uint32_t i = 0; i < im->segment_count; i++)
        if (get_segment(im, i, &s) && s.p_type == PT_LOAD && address >= s.p_vaddr &&
            address - s.p_vaddr < s.p_filesz)
            return address - s.p_vaddr + s.p_offset;
    return 0;
}

static bool name_is(const image *im, uint64_t offset, const char *wanted) {
    const size_t len = strlen(wanted) + 1;
    return offset < im->names_len && len <= im->names_len - offset &&
           im->names + offset <= im->len && len <= im->len - (im->names + offset) &&
           memcmp(im->file + im->names + offset, wanted, len) == 0;
}

/* True if symbol number `index` is a definition that others can see, named `name`. */
static bool matches(const image *im, uint32_t index, const char *name, symbol *out) {
    return get(im, im->symbols + (uint64_t)index * sizeof *out, out, sizeof *out) &&
           name_is(im, out->st_name, name) && out->st_shndx != SHN_UNDEF &&
           (out->st_info >> 4) != STB_LOCAL && (out->st_other & 3) != STV_HIDDEN &&
           (out->st_other & 3) != STV_INTERNAL;
}

static bool find_by_gnu_hash(const image *im, const char *name, symbol *out) {
    uint32_t head[4]; /* buckets, first symbol, bloom words, bloom shift */
    uint32_t hash = 5381;
    uint32_t index;
    uint32_t link;
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
    } while ((link & 1) == 0 && index != 0);
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
    uint64_t steps = 0;
    if (!get_u32(im, im->hash + sizeof head + (uint64_t)(hash % head[0]) * 4, &index))
        return false;
    while (index != STN_UNDEF && steps++ <= head[1]) { /* a chain may be a circle */
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

static bool read_dynamic(image *im, const segment *s, ss_file *out) {
    dynamic d;
    const uint64_t count = s->p_filesz / sizeof d;
    for (uint64_t i = 0; i < count; i++) {
        if (!get(im, s->p_offset + i * sizeof d, &d, sizeof d))
            return false;
        switch (d.d_tag) {
        case DT_NULL:
            return true;
        case DT_SYMTAB:
            im->symbols = file_offset(im, d.d_un.d_ptr);
            break;
        case DT_STRTAB:
            im->names = file_offset(im, d.d_un.d_ptr);
            break;
        case DT_STRSZ:
            im->names_len = d.d_un.d_val;
            break;
        case DT_GNU_HASH:
            im->gnu_hash = file_offset(im, d.d_un.d_ptr);
            break;
        case DT_HASH:
            im->hash = file_offset(im, d.d_un.d_ptr);
            break;
        case DT_FLAGS_1:
            out->no_delete = (d.d_un.d_val & DF_1_NODELETE) != 0;
            if ((d.d_un.d_val & DF_1_PIE) != 0)
                out->kind = SS_FILE_PROGRAM;
            break;
        default:
            break;
        }
    }
    return true;
}

/* Looks for a note of an owner, whose name has four bytes with its NUL, among the first ones
 * of a segment. Any type will do if `type` is 0. Where its text lies goes to *text. */
static bool find_note(const image *im, const segment *s, const char *owner, uint32_t type,
                      uint64_t *text, uint32_t *len) {
    const uint64_t mask = s->p_align == 8 ? 7 : 3;
    uint64_t at = s->p_offset;
    const uint64_t end = s->p_offset + s->p_filesz;
    note n;
    char name[4];
    for (int i = 0; i < NOTES_READ && at < end && get(im, at, &n, sizeof n); i++) {
        *text = at + (((uint64_t)n.n_namesz + sizeof n + mask) & ~mask);
        *len = n.n_descsz;
        if (n.n_namesz == 4 && (type == 0 || n.n_type == type) && get(im, at + sizeof n, name, 4) &&
            memcmp(name, owner, 4) == 0)
            return true;
        at = *text + ((n.n_descsz + mask) & ~mask);
    }
    return false;
}

bool ss_elf_is(const uint8_t *file, size_t len) {
    return len >= SELFMAG && memcmp(file, ELFMAG, SELFMAG) == 0;
}

void ss_elf_look(const uint8_t *file, size_t len, ss_file *out) {
    image im = {.file = file, .len = len};
    file_header h;
    segment s;
    symbol found;
    uint64_t text;
    uint32_t text_len;
    bool has_dynamic = false;
    out->kind = SS_FILE_DAMAGED;
    if (len < EI_NIDENT + 4)
        return;
    out->bits = file[EI_CLASS] == ELFCLASS32 ? 32 : 64;
    const uint16_t own = ss_elf_own_machine();
    if (file[EI_DATA] == ELFDATA2MSB)
        out->machine = (uint16_t)(file[18] << 8 | file[19]);
    else
        out->machine = (uint16_t)(file[19] << 8 | file[18]);
    if (file[EI_CLASS] != OWN_CLASS || file[EI_DATA] != ELFDATA2LSB || out->machine != own) {
        out->kind = SS_FILE_FOREIGN;
        return;
    }
    if (!get(&im, 0, &h, sizeof h))
        return;
    if (h.e_type == ET_REL || h.e_type == ET_EXEC) {
        out->kind = h.e_type == ET_REL ? SS_FILE_OBJECT : SS_FILE_PROGRAM;
        return;
    }
    if (h.e_type != ET_DYN || h.e_phentsize != sizeof s || h.e_phnum == 0)
        return;
    im.segments = h.e_phoff;
    im.segment_count = h.e_phnum;
    for (uint32_t i = 0; i < im.segment_count; i++) {
        if (!get_segment(&im, i, &s) || s.p_offset > len || s.p_filesz > len - s.p_offset)
            return; /* cut off: the loader would map what is not there */
        has_dynamic = has_dynamic || s.p_type == PT_DYNAMIC;
    }
    if (!has_dynamic)
        return;
    out->kind = SS_FILE_ELF;
    for (uint32_t i = 0; i < im.segment_count; i++) {
        if (!get_segment(&im, i, &s))
            continue;
        if (s.p_type == PT_DYNAMIC && !read_dynamic(&im, &s, out)) {
            out->kind = SS_FILE_DAMAGED;
            return;
        }
        /* A library made by Go carries a note of the owner "Go". */
        if (s.p_type == PT_NOTE && find_note(&im, &s, "Go\0", 0, &text, &text_len))
            out->is_go = true;
    }
    if (find_symbol(&im, SLIPSTREAM_CONSTRUCTOR, &found)) {
        out->has_constructor = true;
        out->constructor_is_function = (found.st_info & 15) == STT_FUNC;
    }
    out->has_rust_constructor = find_symbol(&im, "_create_plugin", &found);
    for (uint32_t major = 2; major < 10 && out->other_major == 0; major++) {
        char name[sizeof SLIPSTREAM_CONSTRUCTOR];
        snprintf(name, sizeof name, "slipstream_create_plugin_v%u", (unsigned)major % 10);
        if (find_symbol(&im, name, &found))
            out->other_major = major;
    }
}

static void read_build_id(const image *im, uint32_t segments, char *out, size_t room) {
    uint8_t id[BUILD_ID_MAX];
    uint64_t text;
    uint32_t len;
    segment s;
    for (uint32_t i = 0; i < segments && i < SEGMENTS_READ && get_segment(im, i, &s); i++) {
        if (s.p_type != PT_NOTE || s.p_offset > im->len || s.p_filesz > im->len - s.p_offset ||
            !find_note(im, &s, ELF_NOTE_GNU, NT_GNU_BUILD_ID, &text, &len))
            continue;
        if (len <= sizeof id && 2 * (size_t)len < room && get(im, text, id, len))
            for (uint32_t k = 0; k < len; k++)
                snprintf(out + 2 * k, 3, "%02x", id[k]);
        return;
    }
}

void ss_elf_build_id(int fd, size_t len, char *out, size_t room) {
    image im = {.fd = fd, .len = len};
    file_header h;
    if (get(&im, 0, &h, sizeof h) && ss_elf_is(h.e_ident, sizeof h.e_ident) &&
        h.e_ident[EI_CLASS] == OWN_CLASS && h.e_ident[EI_DATA] == ELFDATA2LSB &&
        h.e_phentsize == sizeof(segment)) {
        im.segments = h.e_phoff;
        read_build_id(&im, h.e_phnum, out, room);
    }
}

uint16_t ss_elf_own_machine(void) {
#if defined(__x86_64__)
    return EM_X86_64;
#elif defined(__aarch64__)
    return EM_AARCH64;
#elif defined(__i386__)
    return EM_386;
#elif defined(__arm__)
    return EM_ARM;
#elif defined(__riscv)
    return EM_RISCV;
#else
#error "this machine is not known to the loader yet"
#endif
}

const char *ss_elf_machine_name(uint16_t machine) {
    switch (machine) {
    case EM_X86_64:
        return "x86-64";
    case EM_AARCH64:
        return "AArch64";
    case EM_386:
        return "x86";
    case EM_ARM:
        return "ARM";
    case EM_RISCV:
        return "RISC-V";
    case EM_PPC64:
        return "PowerPC 64";
    case EM_S390:
        return "S/390";
    default:
        return "an unknown machine";
    }
}
