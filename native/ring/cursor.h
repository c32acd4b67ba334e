/* cursor: the consumer's place in a ring. It takes out what was published, piece by piece,
 * finds out what was lost in between, and sleeps when there is nothing. */
#ifndef SS_CURSOR_H
#define SS_CURSOR_H

#include "ring/ring.h"

typedef struct ss_cursor {
    const ss_view *view;
    uint64_t at;       /* bytes: the next record, or the rest of this one */
    uint64_t seen;     /* bytes: published when we looked last */
    uint64_t expected; /* ordinal of the next event */
    ss_gap_block owed; /* lost before it, not yet told to the plugin */
    uint64_t rest;     /* drop_oldest: bytes and frames of this record that are left */
    uint32_t rest_count;
    uint32_t sleep;    /* number of the last one */
    uint64_t woken_at; /* `expected` when it woke last */
    uint8_t *copy;     /* drop_oldest: where events are delivered from */
    size_t copy_room;
} ss_cursor;

/* Frames with consecutive ordinals, one behind the other. */
typedef struct ss_chunk {
    const uint8_t *frames;
    size_t len;
    uint64_t first;
    uint32_t count;
    uint32_t reserved;
} ss_chunk;

enum ss_took {
    SS_TOOK_NOTHING,   /* there is none */
    SS_TOOK_CHUNK,     /* and first what is owed */
    SS_TOOK_NO_MEMORY, /* for the copy of a large event; it may be tried again */
    SS_TOOK_DAMAGED,   /* the record makes no sense */
};

/* A place in the ring where the producer says that a consumer starts. */
void ss_cursor_start(ss_cursor *cursor, const ss_view *view);
void ss_cursor_end(ss_cursor *cursor);

/* The chunk is valid until the next call, or until it is acknowledged. It may be empty. */
enum ss_took ss_cursor_take(ss_cursor *cursor, ss_chunk *chunk);

/* Sleeps until the producer wakes it, `ms` at most, unless `ready` says that there is
 * something to do. It may return early. */
void ss_cursor_park(ss_cursor *cursor, bool (*ready)(void *context), void *context, uint64_t ms);
/* Sleeps `ms` at most; events do not wake it. */
void ss_cursor_nap(const ss_cursor *cursor, uint64_t ms);

/* The length of the frame at the start of `len` bytes; 0 if it makes no sense. */
static inline size_t ss_frame_step(const uint8_t *frame, size_t len) {
    if (len < SLIPSTREAM_FRAME_HEADER_LEN)
        return 0;
    const size_t step = slipstream_load_u32(frame);
    return step < SLIPSTREAM_FRAME_HEADER_LEN || step > len || step % 8 != 0 ? 0 : step;
}

#endif
