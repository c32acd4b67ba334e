/*
 * slipstream_host.h - what a host in any language needs beside slipstream.h: the check of a
 * plugin's table, and writers of frames.
 *
 * SPDX-License-Identifier: Apache-2.0
 *
 * A plugin does not need this file. Include it instead of slipstream.h, in C11 or C++11. It is
 * code for your own program: nothing of it crosses the boundary, so it may change with any
 * version. examples/host-c is a whole host made with it.
 *
 * A HOST'S DUTIES, IN ORDER
 *
 *   1. Look for slipstream_create_plugin_v1 in the file, and read slipstream_info_v1 out of it
 *      (SLIPSTREAM_INFO in slipstream.h), before you open it: opening runs code.
 *   2. Open it with all symbols resolved and kept local, call the constructor with a host
 *      table of its own, and take the plugin's table over with slipstream_take_plugin.
 *   3. on_load; subscribed_events once, if it is there; on_broadcast for what it wants, and
 *      for GAPs; flush, only with SLIPSTREAM_FLAG_EXPLICIT_ACK; on_unload; destroy; close
 *      the library. Never two calls at once, all from one thread, never while a function of
 *      the plugin's waits for one of yours.
 *   4. An event is done when on_broadcast has said so (see "Statuses" in slipstream.h) or,
 *      with SLIPSTREAM_FLAG_EXPLICIT_ACK, when its ordinal is acknowledged. Until then it is
 *      yours to keep.
 */
#ifndef SLIPSTREAM_HOST_H
#define SLIPSTREAM_HOST_H

#ifndef SLIPSTREAM_HOST
#ifdef SLIPSTREAM_H
#error "include slipstream_host.h before slipstream.h, or define SLIPSTREAM_HOST before both"
#endif
#define SLIPSTREAM_HOST
#endif
#include <slipstream.h>

#ifdef __cplusplus
extern "C" {
#endif

/* What slipstream_create_plugin_v1 is. */
typedef const slipstream_plugin *(SLIPSTREAM_CALL *slipstream_constructor)(
    const slipstream_host *host);

#ifdef __cplusplus
#define SLIPSTREAM_BYTES_OF(object) reinterpret_cast<const unsigned char *>(object)
#define SLIPSTREAM_WRITABLE_BYTES_OF(object) reinterpret_cast<unsigned char *>(object)
#else
#define SLIPSTREAM_BYTES_OF(object) ((const unsigned char *)(object))
#define SLIPSTREAM_WRITABLE_BYTES_OF(object) ((unsigned char *)(object))
#endif

/* ---- The plugin's table ------------------------------------------------------------ */

static inline int32_t slipstream_is_name(const char *name) {
    size_t len = 0;
    if (name == NULL)
        return 0;
    for (; name[len] != '\0'; len++) {
        const char c = name[len];
        const int32_t plain = (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
        if (len == SLIPSTREAM_NAME_MAX ||
            !(plain || (len > 0 && (c == '.' || c == '_' || c == '-'))))
            return 0;
    }
    return len > 0;
}

/* Copies the table that the constructor returned; what it is too old to have is 0 or NULL.
 * OK; else the plugin is refused and `out` holds what there was to copy:
 *   MALFORMED         it is smaller than the smallest table
 *   UNSUPPORTED       it asks for a newer host (min_host_minor)
 *   INVALID_ARGUMENT  name, version, destroy, or flush with EXPLICIT_ACK is missing or wrong
 * A plugin that is refused after its construction gets one call: destroy, if it is there. */
static inline int32_t slipstream_take_plugin(const slipstream_plugin *given,
                                             slipstream_plugin *out) {
    const slipstream_plugin none = {0, 0, 0, 0, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL,
                                    NULL, NULL};
    const unsigned char *from = SLIPSTREAM_BYTES_OF(given);
    unsigned char *to = SLIPSTREAM_WRITABLE_BYTES_OF(out);
    const size_t size = given->struct_size < sizeof *out ? given->struct_size : sizeof *out;
    *out = none;
    for (size_t i = 0; i < size; i++)
        to[i] = from[i];
    if (given->struct_size < SLIPSTREAM_PLUGIN_SIZE_1_0)
        return SLIPSTREAM_MALFORMED;
    if (out->min_host_minor > SLIPSTREAM_ABI_MINOR)
        return SLIPSTREAM_UNSUPPORTED;
    if (!slipstream_is_name(out->name) || out->version == NULL || out->version[0] == '\0' ||
        out->destroy == NULL ||
        ((out->flags & SLIPSTREAM_FLAG_EXPLICIT_ACK) != 0 && out->flush == NULL))
        return SLIPSTREAM_INVALID_ARGUMENT;
    return SLIPSTREAM_OK;
}

/* ---- Writers of frames ---------------------------------------------------------------
 * Each writes one frame into `buffer`: `head` gives stream, sequence, time, height and flags
 * (its other fields are not looked at), the event what slipstream_read_... would give back.
 * *len is the buffer's size before the call and the frame's length after it.
 *   OK
 *   TOO_LARGE         the buffer is too small, and *len is what is needed (buffer may be NULL
 *                     if *len is 0); or *len is 0: no frame can hold that much
 *   INVALID_ARGUMENT  a value that must not be absent is; *len is left as it was
 * Nothing is written unless OK. [any-thread] */

/* The lowest bits of a value. */
static inline void slipstream_store_u16(uint8_t *p, uint64_t value) {
    p[0] = SLIPSTREAM_CAST(uint8_t, value & 0xFF);
    p[1] = SLIPSTREAM_CAST(uint8_t, value >> 8 & 0xFF);
}

static inline void slipstream_store_u32(uint8_t *p, uint64_t value) {
    slipstream_store_u16(p, value);
    slipstream_store_u16(p + 2, value >> 16);
}

static inline void slipstream_store_u64(uint8_t *p, uint64_t value) {
    slipstream_store_u32(p, value);
    slipstream_store_u32(p + 4, value >> 32);
}

/* What a payload is made of: a word, spans, 64-bit numbers, bytes without a span. */
typedef struct slipstream_parts {
    const slipstream_bytes *spans;
    const uint64_t *numbers;
    slipstream_bytes tail; /* an application's own kind: behind the fixed part */
    uint32_t kind;
    uint32_t word;
    uint32_t span_count;
    uint32_t number_count;
    uint32_t optional; /* bit n: span n may be absent */
    uint32_t reserved;
} slipstream_parts;

/* Where `len` more bytes end that start 8-aligned behind `end`; 0 if no frame holds them. */
static inline size_t slipstream_place(size_t end, size_t len) {
    const size_t room = SLIPSTREAM_FRAME_MAX - SLIPSTREAM_FRAME_HEADER_LEN;
    const size_t start = (end + 7) / 8 * 8;
    return end == 0 || start > room || len > room - start ? 0 : start + len;
}

/* The payload's length, 0 if it is too large, 1 if a span is missing. */
static inline size_t slipstream_measure(const slipstream_parts *parts) {
    size_t end = 8 + 8 * (parts->span_count + parts->number_count);
    for (uint32_t i = 0; i < parts->span_count; i++) {
        if (parts->spans[i].data != NULL)
            end = slipstream_place(end, parts->spans[i].len);
        else if ((parts->optional >> i & 1) == 0)
            return 1;
    }
    return parts->tail.len > 0 ? slipstream_place(end, parts->tail.len) : end;
}

static inline void slipstream_copy(uint8_t *to, slipstream_bytes bytes) {
    for (size_t i = 0; i < bytes.len; i++)
        to[i] = bytes.data[i];
}

static inline int32_t slipstream_write_parts(const slipstream_frame *head,
                                             const slipstream_parts *parts, uint8_t *buffer,
                                             size_t *len) {
    const uint32_t fixed = 8 + 8 * (parts->span_count + parts->number_count);
    const size_t payload_len = slipstream_measure(parts);
    const size_t frame_len = SLIPSTREAM_FRAME_HEADER_LEN + (payload_len + 7) / 8 * 8;
    const size_t room = *len;
    uint8_t *payload;
    size_t end = fixed;
    if (payload_len == 1)
        return SLIPSTREAM_INVALID_ARGUMENT;
    *len = payload_len == 0 ? 0 : frame_len;
    if (payload_len == 0 || frame_len > room)
        return SLIPSTREAM_TOO_LARGE;
    payload = buffer + SLIPSTREAM_FRAME_HEADER_LEN;
    for (size_t i = 0; i < frame_len; i++)
        buffer[i] = 0;
    slipstream_store_u32(buffer, frame_len);
    slipstream_store_u16(buffer + 4, SLIPSTREAM_FRAME_HEADER_LEN);
    slipstream_store_u16(buffer + 6, parts->kind);
    slipstream_store_u32(buffer + 8, head->flags);
    slipstream_store_u32(buffer + 12, payload_len);
    slipstream_store_u64(buffer + 16, head->stream);
    slipstream_store_u64(buffer + 24, head->sequence);
    slipstream_store_u64(buffer + 32, SLIPSTREAM_CAST(uint64_t, head->time_ns));
    slipstream_store_u64(buffer + 40, head->height);
    slipstream_store_u32(payload, fixed);
    slipstream_store_u32(payload + 4, parts->word);
    for (uint32_t i = 0; i < parts->span_count; i++) {
        const slipstream_bytes span = parts->spans[i];
        if (span.data == NULL)
            continue;
        end = slipstream_place(end, span.len);
        slipstream_store_u32(payload + 8 + 8 * i, end - span.len);
        slipstream_store_u32(payload + 12 + 8 * i, span.len);
        slipstream_copy(payload + end - span.len, span);
    }
    for (uint32_t i = 0; i < parts->number_count; i++)
        slipstream_store_u64(payload + 8 + 8 * (parts->span_count + i), parts->numbers[i]);
    slipstream_copy(payload + end, parts->tail);
    return SLIPSTREAM_OK;
}

static inline int32_t slipstream_write_spans(const slipstream_frame *head, uint32_t kind,
                                             uint32_t word, const slipstream_bytes *spans,
                                             uint32_t span_count, uint32_t optional,
                                             const uint64_t *numbers, uint32_t number_count,
                                             uint8_t *buffer, size_t *len) {
    const slipstream_parts parts = {spans, numbers, {NULL, 0}, kind,
                                    word,  span_count, number_count, optional, 0};
    return slipstream_write_parts(head, &parts, buffer, len);
}

static inline int32_t slipstream_write_mapping_update(const slipstream_frame *head,
                                                      const slipstream_mapping_update *event,
                                                      uint8_t *buffer, size_t *len) {
    const slipstream_bytes spans[] = {event->program_id, event->mapping_name, event->key,
                                      event->value};
    return slipstream_write_spans(head, SLIPSTREAM_KIND_MAPPING_UPDATE, event->encoding, spans, 4,
                                  0, NULL, 0, buffer, len);
}

static inline int32_t slipstream_write_mapping_removal(const slipstream_frame *head,
                                                       const slipstream_mapping_removal *event,
                                                       uint8_t *buffer, size_t *len) {
    const slipstream_bytes spans[] = {event->program_id, event->mapping_name, event->key};
    return slipstream_write_spans(head, SLIPSTREAM_KIND_MAPPING_REMOVAL, event->encoding, spans, 3,
                                  1 << 2, NULL, 0, buffer, len);
}

static inline int32_t slipstream_write_staking_reward(const slipstream_frame *head,
                                                      const slipstream_staking_reward *event,
                                                      uint8_t *buffer, size_t *len) {
    const slipstream_bytes spans[] = {event->staker, event->validator};
    const uint64_t numbers[] = {event->reward, event->new_stake};
    return slipstream_write_spans(head, SLIPSTREAM_KIND_STAKING_REWARD, event->encoding, spans, 2,
                                  0, numbers, 2, buffer, len);
}

static inline int32_t slipstream_write_block(const slipstream_frame *head,
                                             const slipstream_block *event, uint8_t *buffer,
                                             size_t *len) {
    return slipstream_write_spans(head, SLIPSTREAM_KIND_BLOCK, event->encoding, &event->block, 1, 0,
                                  NULL, 0, buffer, len);
}

/* A payload that is routed by its name has SLIPSTREAM_FRAME_ROUTED in head->flags. */
static inline int32_t slipstream_write_payload(const slipstream_frame *head,
                                               const slipstream_payload *event, uint8_t *buffer,
                                               size_t *len) {
    const slipstream_bytes spans[] = {event->source, event->name, event->body};
    return slipstream_write_spans(head, SLIPSTREAM_KIND_PAYLOAD, event->encoding, spans, 3, 1,
                                  NULL, 0, buffer, len);
}

/* Its head has stream 0 and sequence 0; its ordinal, in slipstream_delivery, is event->last. */
static inline int32_t slipstream_write_gap(const slipstream_frame *head,
                                           const slipstream_gap *event, uint8_t *buffer,
                                           size_t *len) {
    const uint64_t numbers[] = {event->first,        event->last,           event->count,
                                event->kinds,        event->first_height,   event->last_height,
                                event->lost_stream,  event->first_sequence, event->last_sequence};
    return slipstream_write_spans(head, SLIPSTREAM_KIND_GAP, event->reasons, NULL, 0, 0, numbers, 9,
                                  buffer, len);
}

static inline int32_t slipstream_write_peer_seen(const slipstream_frame *head,
                                                 const slipstream_peer_seen *event,
                                                 uint8_t *buffer, size_t *len) {
    const slipstream_bytes spans[] = {event->peer, event->public_key, event->name};
    const uint64_t reserved[] = {0};
    return slipstream_write_spans(head, SLIPSTREAM_KIND_PEER_SEEN, event->via, spans, 3,
                                  1 << 1 | 1 << 2, reserved, 1, buffer, len);
}

static inline int32_t slipstream_write_peer_forgotten(const slipstream_frame *head,
                                                      const slipstream_peer_forgotten *event,
                                                      uint8_t *buffer, size_t *len) {
    return slipstream_write_spans(head, SLIPSTREAM_KIND_PEER_FORGOTTEN, 0, &event->peer, 1, 0, NULL,
                                  0, buffer, len);
}

static inline int32_t slipstream_write_mark(const slipstream_frame *head,
                                            const slipstream_mark *event, uint8_t *buffer,
                                            size_t *len) {
    const slipstream_bytes spans[] = {event->name, event->body};
    return slipstream_write_spans(head, SLIPSTREAM_KIND_MARK, 0, spans, 2, 0, NULL, 0, buffer, len);
}

/* An application's own kind, 32 to 63; INVALID_ARGUMENT for any other. */
static inline int32_t slipstream_write_app(const slipstream_frame *head, uint32_t kind,
                                           slipstream_bytes bytes, uint8_t *buffer, size_t *len) {
    const slipstream_parts parts = {NULL, NULL, bytes, kind, 0, 0, 0, 0, 0};
    if (kind < SLIPSTREAM_KIND_APP_FIRST || kind > SLIPSTREAM_KIND_APP_LAST)
        return SLIPSTREAM_INVALID_ARGUMENT;
    return slipstream_write_parts(head, &parts, buffer, len);
}

#ifdef __cplusplus
} /* extern "C" */
#endif

#endif
