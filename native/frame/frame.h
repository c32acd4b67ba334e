/* frame: the layout of frames from the host's side: writing, stamping, checking.
 * Reading is the header's own business; nothing here reads a payload in another way. */
#ifndef SS_FRAME_H
#define SS_FRAME_H

#include <slipstream.h>
#include <stdbool.h>
#include <stddef.h>
#include <string.h>

#define SS_MAX_SPANS 4
#define SS_MAX_NUMBERS 9

/* cdef:begin */

/* What the payload of a kind is made of: spans from offset 8, then 64-bit numbers, then
 * reserved ones. */
typedef struct ss_shape {
    uint8_t known;    /* 0 for a kind that has no meaning yet */
    uint8_t sent;     /* 0 for one that only the host itself makes */
    uint8_t spans;
    uint8_t optional; /* bit n: span n may be absent */
    uint8_t numbers;
    uint8_t reserved;
    uint8_t has_word; /* the word behind fixed_len says something */
} ss_shape;

/* The shape of `kind`. An application's own kind is one span that stands directly behind the
 * fixed part. */
ss_shape ss_frame_shape(uint32_t kind);

/* cdef:end */

/* A kind's name for texts; "an event" for one that has none. */
const char *ss_frame_kind_name(uint32_t kind);

/* Everything that a frame says, ready to be written. */
typedef struct ss_draft {
    uint64_t stream;
    uint64_t sequence;
    int64_t time_ns;
    uint64_t height;
    uint32_t kind;
    uint32_t flags;
    uint32_t word; /* behind fixed_len: a GAP's reasons, an encoding, how a peer was seen */
    uint32_t reserved;
    slipstream_bytes spans[SS_MAX_SPANS]; /* absent: NULL and 0 */
    uint64_t numbers[SS_MAX_NUMBERS];
} ss_draft;

/* A draft of which nothing is said but its kind. Numbers, which few kinds have, are left as they
 * are: a kind's own have to be set. */
static inline void ss_draft_start(ss_draft *draft, uint32_t kind) {
    memset(draft, 0, offsetof(ss_draft, spans)); /* in two: of one gcc makes a slow `rep stos` */
    memset(draft->spans, 0, sizeof draft->spans);
    draft->kind = kind;
}

/* Bytes that `draft` takes as a frame, 0 if that is more than SLIPSTREAM_FRAME_MAX. */
size_t ss_frame_size(const ss_draft *draft);

/* Writes `draft` as a frame of `size` bytes, which ss_frame_size gave. */
void ss_frame_write(uint8_t *frame, size_t size, const ss_draft *draft);

/* Checks the frame at `data` completely, spans included. OK and its view in `out`, or
 * MALFORMED, UNSUPPORTED (critical flag), INVALID_ARGUMENT (a kind that may not be sent). */
int32_t ss_frame_check(const uint8_t *data, size_t len, slipstream_frame *out);

/* Offsets of the words that the sequencer fills in. */
void ss_frame_stamp(uint8_t *frame, uint64_t stream, uint64_t sequence, int64_t time_ns);

#endif
