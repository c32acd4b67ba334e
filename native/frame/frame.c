#include "frame/frame.h"

#include "platform/cpu.h"

#include <string.h>

static void store_u16(uint8_t *p, uint32_t value) {
    const uint16_t word = SS_CPU_LE16((uint16_t)value);
    memcpy(p, &word, sizeof word);
}

static void store_u32(uint8_t *p, uint32_t value) {
    const uint32_t word = SS_CPU_LE32(value);
    memcpy(p, &word, sizeof word);
}

static void store_u64(uint8_t *p, uint64_t value) {
    const uint64_t word = SS_CPU_LE64(value);
    memcpy(p, &word, sizeof word);
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

static inline void copy_word(uint8_t *to, const uint8_t *from) {
    uint64_t word;
    memcpy(&word, from, sizeof word);
    memcpy(to, &word, sizeof word);
}

/* A span and the zeros behind it, up to a whole word. Most are short, and a call costs more than
 * they do: they go word by word, the last of which may lie over the one before. */
static inline void put_bytes(uint8_t *to, const uint8_t *from, size_t len) {
    enum { SHORT = 64 };
    if (len == 0)
        return;
    store_u64(to + round8(len) - 8, 0);
    if (len < 8 || len > SHORT) {
        memcpy(to, from, len);
        return;
    }
    for (size_t at = 0; at < len - 8; at += 8)
        copy_word(to + at, from + at);
    copy_word(to + len - 8, from + len - 8);
}

/* Walks over the spans as the layout rule says; `frame` NULL only measures.
 * Returns the payload's length, 0 if it is too large. */
static size_t lay_out(const ss_draft *draft, uint8_t *payload) {
    const ss_shape shape = ss_frame_shape(draft->kind);
    const size_t room = SLIPSTREAM_FRAME_MAX - SLIPSTREAM_FRAME_HEADER_LEN;
    const size_t fixed = fixed_len(shape);
    size_t end = fixed;
    for (unsigned i = 0; i < shape.spans; i++) {
        const slipstream_bytes span = draft->spans[i];
        if (span.data == NULL) {
            if (payload != NULL)
                store_u64(payload + 8 + 8 * i, 0);
            continue;
        }
        const size_t start = round8(end);
        if (span.len > room - start)
            return 0;
        if (payload != NULL) {
            store_u32(payload + 8 + 8 * i, (uint32_t)start);
            store_u32(payload + 12 + 8 * i, (uint32_t)span.len);
            put_bytes(payload + start, span.data, span.len);
        }
        end = start + span.len;
    }
    if (draft->kind >= SLIPSTREAM_KIND_APP_FIRST) {
        if (draft->spans[0].len > room - end)
            return 0;
        if (payload != NULL)
            put_bytes(payload + end, draft->spans[0].data, draft->spans[0].len);
        end += draft->spans[0].len;
    }
    if (payload != NULL) {
        store_u32(payload, (uint32_t)fixed);
        store_u32(payload + 4, shape.has_word ? draft->word : 0);
        for (unsigned i = 0; i < (unsigned)shape.numbers + shape.reserved; i++)
            store_u64(payload + 8 + 8 * ((size_t)shape.spans + i),
                      i < shape.numbers ? draft->numbers[i] : 0);
    }
    return end;
}

size_t ss_frame_size(const ss_draft *draft) {
    const size_t payload = lay_out(draft, NULL);
    return payload == 0 ? 0 : SLIPSTREAM_FRAME_HEADER_LEN + round8(payload);
}

void ss_frame_write(uint8_t *frame, size_t size, const ss_draft *draft) {
    const size_t payload = lay_out(draft, frame + SLIPSTREAM_FRAME_HEADER_LEN);
    store_u32(frame, (uint32_t)size);
    store_u16(frame + 4, SLIPSTREAM_FRAME_HEADER_LEN);
    store_u16(frame + 6, draft->kind);
    store_u32(frame + 8, draft->flags);
    store_u32(frame + 12, (uint32_t)payload);
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
