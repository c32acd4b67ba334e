/* memory: where bytes lie that a plugin gets, so that each wrong access to them is a fault. */
#ifndef SS_CHECK_MEMORY_H
#define SS_CHECK_MEMORY_H

#include <stddef.h>
#include <stdint.h>

typedef struct ss_placed {
    uint8_t *data;
    size_t len;
    uint8_t *pages; /* between two that cannot be touched; NULL: in plain memory */
    size_t size;
    uint32_t place; /* SS_PLAY_PLACE_* */
} ss_placed;

/* Copies the bytes to such a place; ends the process where there is no memory. */
ss_placed ss_place(const void *data, size_t len, uint32_t place);
/* What the place says of when the call has returned. */
void ss_place_leave(ss_placed *placed);

#endif
