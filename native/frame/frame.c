#include "frame/frame.h"

#include "platform/cpu.h"

#include <string.h>

static void store_u64(uint8_t *p, uint64_t value) {
    const uint64_t word = SS_CPU_LE64(value);
    memcpy(p, &word, sizeof word);
}

static void store_pair(uint8_t *p, uint32_t first, uint32_t second) {
    store_u64(p, first | (uint64_t)second << 32);
}

static size_t round8(size_t n) {
    return (n + 7) & ~(size_t)7;
}

/* The kinds of this contract, each with its name in texts for people. */
static const struct {
    ss_shape shape;
    char name[20];
} kinds[] = {
    [SLIPSTREAM_KIND_MAPPING_UPDATE] = {{1, 1, 4, 0, 0, 0, 1}, "MAPPING_UPDATE"},
    [SLIPSTREAM_KIND_MAPPING_REMOVAL] = {{1, 1, 3, 1 << 2, 0, 0, 1}, "MAPPING_REMOVAL"},
    [SLIPSTREAM_KIND_STAKING_REWARD] = {{1, 1, 2, 0, 2, 0, 1}, "STAKING_REWARD"},
    [SLIPSTREAM_KIND_BLOCK] = {{1, 1, 1, 0, 0, 0, 1}, "BLOCK"},
    [SLIPSTREAM_KIND_PAYLOAD] = {{1, 1, 3, 1 << 0, 0, 0, 1}, "PAYLOAD"},
    [SLIPSTREAM_KIND_GAP] = {{1, 0, 0, 0, 9, 0, 1}, "GAP"},
    [SLIPSTREAM_KIND_PEER_SEEN] = {{1, 1, 3, 1 << 1 | 1 << 2, 0, 1, 1}, "PEER_SEEN"},
    [SLIPSTREAM_KIND_PEER_FORGOTTEN] = {{1, 1, 1, 0, 0, 0, 0}, "PEER_FORGOTTEN"},
    [SLIPSTREAM_KIND_MARK] = {{1, 0, 2, 0, 0, 0, 0}, "MARK"},
};

ss_shape ss_frame_shape(uint32_t kind) {
    const ss_shape application = {1, 1, 0, 0, 0, 0, 0};
    const ss_shape none = {0, 0, 0, 0, 0, 0, 0};
    if (kind < sizeof kinds / sizeof kinds[0])
        return kinds[kind].shape;
    return kind >= SLIPSTREAM_KIND_APP_FIRST && kind <= SLIPSTREAM_KIND_APP_LAST ? application
                                                                                 : none;
}

const char *ss_frame_kind_name(uint32_t kind) {
    return kind < sizeof kinds / sizeof kinds[0] ? kinds[kind].name : "an event";
}

static size_t fixed_len(ss_shape shape) {
    return 8 + 8 * ((size_t)shape.spans + shape.numbers + shape.reserved);
}

/* Two copies of a half each, the second of which may lie over the end of the first. */
#define COPY_ENDS(to, from, len, half)                                                             \
    (memcpy(to, from, half), memcpy((to) + (len) - (half), (from) + (len) - (half), half))

/* A span and the zeros behind it, up to a whole word. Most are short, and a call costs more than
 * they do. */
static inline void put_bytes(uint8_t *to, const uint8_t *from, size_t len) {
    if (len == 0)
        return;
    store_u64(to + round8(len) - 8, 0);
    if (len < 8 || len > 64)
        memcpy(to, from, len);
    else if (len <= 16)
        COPY_ENDS(to, from, len, 8);
    else if (len <= 32)
        COPY_ENDS(to, from, len, 16);
    else
        COPY_ENDS(to, from, len, 32);
}

/* An application's own kind has one span, behind the fixed part. */
static inline bool is_application(const ss_draft *draft) {
    return draft->kind >= SLIPSTREAM_KIND_APP_FIRST;
}

size_t ss_frame_size(const ss_draft *draft) {
    const ss_shape shape = ss_frame_shape(draft->kind);
    const unsigned spans = is_application(draft) ? 1 : shape.spans;
    size_t size = SLIPSTREAM_FRAME_HEADER_LEN + fixed_len(shape);
    for (unsigned i = 0; i < spans; i++) {
        if (draft->spans[i].len > SLIPSTREAM_FRAME_MAX)
            return 0;
        size += round8(draft->spans[i].len); /* each starts at a whole word */
    }
    return size <= SLIPSTREAM_FRAME_MAX ? size : 0;
}

/* Writes the payload as the layout rule says; returns its length. */
static inline size_t lay_out(const ss_draft *draft, uint8_t *payload) {
    const ss_shape shape = ss_frame_shape(draft->kind);
    const size_t fixed = fixed_len(shape);
    size_t end = fixed;
    for (unsigned i = 0; i < shape.spans; i++) {
        const slipstream_bytes span = draft->spans[i];
        uint64_t where = 0;
        if (span.data != NULL) {
            const size_t start = round8(end);
            where = start | (uint64_t)span.len << 32;
            put_bytes(payload + start, span.data, span.len);
            end = start + span.len;
        }
        store_u64(payload + 8 + 8 * i, where);
    }
    if (is_application(draft)) {
        put_bytes(payload + end, draft->spans[0].data, draft->spans[0].len);
        end += draft->spans[0].len;
    }
    store_pair(payload, (uint32_t)fixed, shape.has_word ? draft->word : 0);
    for (unsigned i = 0; i < (unsigned)shape.numbers + shape.reserved; i++)
        store_u64(payload + 8 + 8 * ((size_t)shape.spans + i),
                  i < shape.numbers ? draft->numbers[i] : 0);
    return end;
}

void ss_frame_write(uint8_t *frame, size_t size, const ss_draft *draft) {
    const size_t payload = lay_out(draft, frame + SLIPSTREAM_FRAME_HEADER_LEN);
    store_pair(frame, (uint32_t)size, SLIPSTREAM_FRAME_HEADER_LEN | draft->kind << 16);
    store_pair(frame + 8, draft->flags, (uint32_t)payload);
    ss_frame_stamp(frame, draft->stream, draft->sequence, draft->time_ns);
    store_u64(frame + 40, draft->height);
}

void ss_frame_stamp(uint8_t *frame, uint64_t stream, uint64_t sequence, int64_t time_ns) {
    store_u64(frame + 16, stream);
    store_u64(frame + 24, sequence);
    store_u64(frame + 32, (uint64_t)time_ns);
}

int32_t ss_frame_check(const uint8_t *data, size_t len, slipstream_frame *out) {
    int32_t status = slipstream_read_frame(data, len, out);
    if (status != SLIPSTREAM_OK)
        return status;
    const ss_shape shape = ss_frame_shape(out->kind);
    if (!shape.known)
        return SLIPSTREAM_INVALID_ARGUMENT;
    uint32_t fixed = 0;
    status = slipstream_check_fixed(out, out->kind, (uint32_t)fixed_len(shape), &fixed);
    for (unsigned i = 0; status == SLIPSTREAM_OK && i < shape.spans; i++) {
        slipstream_bytes span;
        const int32_t required = (shape.optional >> i & 1) == 0;
        status = slipstream_read_span(out, fixed, 8 + 8 * i, required, &span);
    }
    return status;
}
