/* ring_memory: the memory of rings and control areas: files in memory, sealed so that the
 * other process cannot do more with them than it should, and their mappings. */
#ifndef SS_RING_MEMORY_H
#define SS_RING_MEMORY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A file in memory of `size` bytes, all of them there. -1 with errno set. */
int ss_memory_file(size_t size);

/* Seals it against resizing. `read_only`: whoever maps or opens it from now on can only
 * read it; mappings that exist stay as they are. False with errno set. */
bool ss_memory_seal(int fd, bool read_only);

/* Maps the head of a ring and, twice behind it, its `bytes` of data. NULL with errno set. */
uint8_t *ss_ring_map(int fd, size_t bytes, bool writable);
void ss_ring_unmap(uint8_t *base, size_t bytes);

#endif
