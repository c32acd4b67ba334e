#include "library/source.h"

#include "platform/platform.h"

#include <string.h>

enum { PIECE = 1024, NAME_ROOM = 64 };

bool ss_source_get(const ss_source *source, uint64_t at, void *out, size_t len) {
    if (at > source->len || len > source->len - at)
        return false;
    if (source->file == NULL)
        return ss_os_file_read(source->fd, at, out, len);
    memcpy(out, source->file + at, len);
    return true;
}

uint64_t ss_source_text_len(const ss_source *source, uint64_t at, uint64_t limit) {
    uint8_t piece[PIECE];
    for (uint64_t seen = 0; seen < limit;) {
        const size_t len = limit - seen < PIECE ? (size_t)(limit - seen) : PIECE;
        if (!ss_source_get(source, at + seen, piece, len))
            return limit;
        const uint8_t *end = memchr(piece, '\0', len);
        if (end != NULL)
            return seen + (uint64_t)(end - piece);
        seen += len;
    }
    return limit;
}

int ss_source_compare(const ss_source *source, uint64_t at, uint64_t limit, const char *text) {
    char found[NAME_ROOM];
    const size_t wanted = strlen(text) + 1;
    if (at > source->len)
        return 1;
    limit = limit < source->len - at ? limit : source->len - at;
    const size_t len = limit < wanted ? (size_t)limit : wanted;
    if (wanted > sizeof found || !ss_source_get(source, at, found, len))
        return 1;
    const int order = strncmp(found, text, len);
    return order != 0 || len == wanted ? order : 1;
}
