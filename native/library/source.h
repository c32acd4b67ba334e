/* source: the bytes of a file of which little is read, wherever they are. */
#ifndef SS_SOURCE_H
#define SS_SOURCE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct ss_source {
    const uint8_t *file; /* NULL: `fd` is read piece by piece */
    int fd;
    uint64_t len;
} ss_source;

/* False if they are not all there. */
bool ss_source_get(const ss_source *source, uint64_t at, void *out, size_t len);

/* The number of bytes up to the NUL at an offset; `limit` if there is none before. */
uint64_t ss_source_text_len(const ss_source *source, uint64_t at, uint64_t limit);

/* As strcmp does it: the text at an offset, of which `limit` bytes may be read, and `text`. One
 * that is not there, or does not end there, is larger. `text` has 63 bytes at most. */
int ss_source_compare(const ss_source *source, uint64_t at, uint64_t limit, const char *text);

#endif
