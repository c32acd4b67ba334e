/* send: frames, checked and stamped, to whoever wants them. */
#include "sequencer/types.h"

#include "frame/usual.h"

#include <stdlib.h>
#include <string.h>

enum { RUN_BYTES = 16 * 1024 }; /* a longer run is handed over in pieces of about this size */

/* Frames of which so many are of these kinds, and no others; count 0: they were not counted. */
typedef struct piece {
    const uint8_t *frames;
    size_t len;
    uint64_t kinds;
    uint32_t count;
} piece;

/* Waits for room, but not in a signal handler's call inside of such a wait. */
static inline void wait_if_allowed(ss_sequencer *sequencer) {
    if (__builtin_expect(sequencer->waiting > 0, 0) && sequencer->may_wait &&
        !ss_sequencer_inside_callback(sequencer))
        ss_sequencer_wait_for_room(sequencer);
}

static void deliver_to(ss_sequencer *sequencer, ss_slot *s, const piece *p) {
    if (s->queue != NULL) {
        const uint32_t wanted = (p->kinds & ~s->kinds) == 0 ? p->count : 0;
        ss_slot_put(sequencer, s, s->kinds, p->frames, p->len, wanted);
        return;
    }
    ss_sequencer_wake_sleepers(sequencer); /* they do not wait for what this one does */
    if (ss_slot_is_open(s))
        ss_slot_deliver(sequencer, s, p->frames, p->len);
    else
        ss_slot_miss(sequencer, s, s->kinds, p->frames, p->len);
}

/* A piece of a run, stamped, to all slots. */
static void deliver_piece(ss_sequencer *sequencer, const piece *p) {
    for (uint32_t i = 0; i < sequencer->count; i++)
        if (sequencer->slots[i]->kinds != 0)
            deliver_to(sequencer, sequencer->slots[i], p);
    ss_sequencer_wake_sleepers(sequencer);
}

static bool reserve(ss_buffer *b, size_t room) {
    if (room <= b->room)
        return true;
    size_t wanted = b->room == 0 ? RUN_BYTES : b->room;
    while (wanted < room)
        wanted *= 2;
    uint8_t *data = realloc(b->data, wanted);
    if (data == NULL)
        return false;
    b->data = data;
    b->room = wanted;
    return true;
}

int32_t ss_sequencer_check(const uint8_t *frames, size_t len, size_t limit, ss_sent *sent,
                           uint64_t *kinds, bool *stamped) {
    const size_t end = limit < len ? limit : len;
    int32_t status = SLIPSTREAM_OK;
    slipstream_frame frame;
    bool all_stamped = true;
    const uint8_t *usual = NULL; /* the last one that was, and its length */
    size_t usual_len = 0;
    size_t at = 0;
    uint64_t count = 0;
    *kinds = 0;
    for (; at < end; count++) {
        const uint8_t *one = frames + at;
        if (usual == NULL || len - at < usual_len || !ss_frame_is_like(one, usual)) {
            usual = ss_frame_is_usual(one, ss_frame_room(len - at)) ? one : NULL;
            usual_len = usual == NULL ? 0 : slipstream_load_u32(one);
        }
        if (usual != NULL && ss_frame_is_paired(one)) {
            *kinds |= SLIPSTREAM_KIND_BIT(SLIPSTREAM_KIND_MAPPING_UPDATE);
            all_stamped = all_stamped && ss_frame_is_stamped(one);
            at += usual_len;
            continue;
        }
        status = ss_frame_check(frames + at, len - at, &frame);
        if (status == SLIPSTREAM_OK && (!ss_frame_shape(frame.kind).sent ||
                                        (frame.stream == 0) != (frame.sequence == 0)))
            status = SLIPSTREAM_INVALID_ARGUMENT;
        if (status != SLIPSTREAM_OK)
            break;
        *kinds |= SLIPSTREAM_KIND_BIT(frame.kind);
        all_stamped = all_stamped && frame.stream != 0 && frame.time_ns != 0;
        at += frame.whole.len;
    }
    sent->offset += at;
    sent->index += count;
    *stamped = all_stamped;
    return status;
}

static void stamp(ss_sequencer *sequencer, uint8_t *frame, int64_t now) {
    if (ss_frame_is_stamped(frame))
        return;
    const uint64_t stream = ss_load_word(frame + 16);
    const int64_t time_ns = (int64_t)ss_load_word(frame + 32);
    ss_frame_stamp(frame, stream != 0 ? stream : sequencer->stream,
                   stream != 0 ? ss_load_word(frame + 24) : ++sequencer->sequence,
                   time_ns != 0 ? time_ns : now);
}

/* The end of the piece that starts at `at`: whole frames, about RUN_BYTES of them. */
static size_t piece_end(const uint8_t *frames, size_t len, size_t at) {
    const size_t limit = at + RUN_BYTES;
    do
        at += slipstream_load_u32(frames + at);
    while (at < len && at + slipstream_load_u32(frames + at) <= limit);
    return at;
}

static int32_t defer(ss_sequencer *sequencer, const uint8_t *frames, size_t len) {
    if (!reserve(&sequencer->deferred, sequencer->deferred.len + len))
        return SLIPSTREAM_NO_MEMORY;
    uint8_t *copy = sequencer->deferred.data + sequencer->deferred.len;
    memcpy(copy, frames, len);
    sequencer->deferred.len += len;
    /* Among what is kept the flag says that a frame goes to its claimant alone. */
    for (size_t at = 0; at < len; at += slipstream_load_u32(copy + at))
        copy[at + 8] &= (uint8_t)~SLIPSTREAM_FRAME_ROUTED;
    return SLIPSTREAM_OK;
}

static void stamp_all(ss_sequencer *sequencer, uint8_t *frames, size_t len) {
    const int64_t now = ss_wall_now(&sequencer->wall);
    for (size_t at = 0; at < len; at += slipstream_load_u32(frames + at))
        stamp(sequencer, frames + at, now);
}

void ss_sequencer_put_own(ss_sequencer *sequencer, uint8_t *frames, size_t len, bool stamped) {
    if (!stamped)
        stamp_all(sequencer, frames, len);
    for (size_t at = 0, end; at < len; at = end) {
        end = piece_end(frames, len, at);
        deliver_piece(sequencer, &(piece){frames + at, end - at, 0, 0});
    }
    /* First to every ring that has room, then the waiting. */
    wait_if_allowed(sequencer);
}

/* Where a single plugin gets single frames, checking and calling go in one pass. */
static void put_directly(ss_sequencer *sequencer, const uint8_t *frames, size_t len,
                         ss_sent *sent) {
    ss_slot *s = sequencer->count == 1 ? sequencer->slots[0] : NULL;
    const uint8_t *rest = frames + sent->offset;
    const size_t rest_len = len - sent->offset;
    if (rest_len < SLIPSTREAM_FRAME_HEADER_LEN || !ss_frame_is_stamped(rest))
        return;
    if (s != NULL && s->host != NULL && ss_slot_is_open(s) &&
        (s->flags & SLIPSTREAM_FLAG_BATCH) == 0 &&
        (s->kinds & SLIPSTREAM_KIND_BIT(SLIPSTREAM_KIND_MAPPING_UPDATE)) != 0 &&
        !ss_sequencer_inside_callback(sequencer))
        ss_slot_deliver_unchecked(sequencer, s, rest, rest_len, sent);
}

/* Stamped frames of ours, to all slots. */
static void deliver_single(ss_sequencer *sequencer, const uint8_t *frame, size_t len,
                           uint64_t kind_bit) {
    deliver_piece(sequencer, &(piece){frame, len, kind_bit, 1});
    wait_if_allowed(sequencer);
}

/* A single frame, as nearly all are: checked once, and stamped where it is going to lie. */
static bool put_single(ss_sequencer *sequencer, const uint8_t *frame, size_t len, ss_sent *sent) {
    const uint64_t kind_bit = SLIPSTREAM_KIND_BIT(SLIPSTREAM_KIND_MAPPING_UPDATE);
    ss_queue *queue;
    if (!ss_frame_is_usual(frame, ss_frame_room(len)) || slipstream_load_u32(frame) != len ||
        !ss_frame_is_paired(frame) || ss_sequencer_inside_callback(sequencer) ||
        (ss_sequencer_kinds(sequencer) & kind_bit) == 0)
        return false;
    uint8_t *ring = ss_sequencer_reserve_in_ring(sequencer, kind_bit, len, &queue);
    uint8_t *place = ring;
    if (ring == NULL) {
        wait_if_allowed(sequencer); /* the buffer is used again */
        if (!reserve(&sequencer->scratch, len))
            return false;
        place = sequencer->scratch.data;
    }
    memcpy(place, frame, len);
    stamp(sequencer, place, ss_wall_now(&sequencer->wall));
    if (ring != NULL)
        ss_queue_commit(queue, len);
    else
        deliver_single(sequencer, place, len, kind_bit);
    *sent = (ss_sent){.index = 1, .offset = len};
    return true;
}

int32_t ss_sequencer_put_frames(ss_sequencer *sequencer, const uint8_t *frames, size_t len,
                                ss_sent *sent) {
    if (put_single(sequencer, frames, len, sent))
        return SLIPSTREAM_OK;
    memset(sent, 0, sizeof *sent);
    for (;;) {
        put_directly(sequencer, frames, len, sent);
        if (sent->offset == len)
            break;
        piece p = {.frames = frames + sent->offset};
        const ss_sent before = *sent;
        bool stamped;
        int32_t status =
            ss_sequencer_check(p.frames, len - sent->offset, RUN_BYTES, sent, &p.kinds, &stamped);
        p.len = sent->offset - before.offset;
        p.count = (uint32_t)(sent->index - before.index);
        if (ss_sequencer_inside_callback(sequencer)) {
            const int32_t kept = defer(sequencer, p.frames, p.len);
            status = kept != SLIPSTREAM_OK ? kept : status;
        } else if (stamped || (p.kinds & ss_sequencer_kinds(sequencer)) == 0) {
            deliver_piece(sequencer, &p);
        } else if (!reserve(&sequencer->scratch, p.len)) {
            status = SLIPSTREAM_NO_MEMORY;
        } else {
            wait_if_allowed(sequencer); /* the buffer is used again */
            memcpy(sequencer->scratch.data, p.frames, p.len);
            stamp_all(sequencer, sequencer->scratch.data, p.len);
            p.frames = sequencer->scratch.data;
            deliver_piece(sequencer, &p);
            wait_if_allowed(sequencer);
        }
        if (status == SLIPSTREAM_NO_MEMORY)
            *sent = before;
        if (status != SLIPSTREAM_OK) {
            wait_if_allowed(sequencer);
            return status;
        }
    }
    wait_if_allowed(sequencer);
    return SLIPSTREAM_OK;
}

int32_t ss_sequencer_put_draft(ss_sequencer *sequencer, ss_draft *draft) {
    const size_t size = ss_frame_size(draft);
    if (size == 0)
        return SLIPSTREAM_TOO_LARGE;
    ss_queue *queue;
    uint8_t *place =
        ss_sequencer_reserve_in_ring(sequencer, SLIPSTREAM_KIND_BIT(draft->kind), size, &queue);
    ss_buffer *b =
        ss_sequencer_inside_callback(sequencer) ? &sequencer->deferred : &sequencer->scratch;
    if (place == NULL && !reserve(b, b->len + size))
        return SLIPSTREAM_NO_MEMORY;
    if (b == &sequencer->deferred) {
        ss_frame_write(b->data + b->len, size, draft);
        b->len += size;
        return SLIPSTREAM_OK;
    }
    if (draft->stream == 0) {
        draft->stream = sequencer->stream;
        draft->sequence = ++sequencer->sequence;
    }
    if (draft->time_ns == 0)
        draft->time_ns = ss_wall_now(&sequencer->wall);
    if (place != NULL) {
        ss_frame_write(place, size, draft);
        ss_queue_commit(queue, size);
        return SLIPSTREAM_OK;
    }
    ss_frame_write(b->data, size, draft);
    deliver_single(sequencer, b->data, size, SLIPSTREAM_KIND_BIT(draft->kind));
    return SLIPSTREAM_OK;
}

static ss_slot *claimant(const ss_sequencer *sequencer, const slipstream_bytes *name) {
    for (uint32_t i = 0; i < sequencer->count; i++) {
        ss_slot *s = sequencer->slots[i];
        for (size_t k = 0; k < s->claim_count; k++)
            if (strlen(s->claims[k]) == name->len &&
                memcmp(s->claims[k], name->data, name->len) == 0)
                return s;
    }
    return NULL;
}

/* A frame that is routed: to its claimant alone. */
static int32_t route_frame(ss_sequencer *sequencer, uint8_t *frame, size_t len) {
    slipstream_frame view;
    slipstream_payload payload;
    if (slipstream_read_frame(frame, len, &view) != SLIPSTREAM_OK ||
        slipstream_read_payload(&view, &payload) != SLIPSTREAM_OK)
        return SLIPSTREAM_MALFORMED;
    ss_slot *s = claimant(sequencer, &payload.name);
    if (s == NULL || atomic_load_explicit(&s->state, memory_order_relaxed) == SS_SLOT_FAILED)
        return SLIPSTREAM_NOT_FOUND;
    stamp(sequencer, frame, ss_wall_now(&sequencer->wall));
    const uint64_t kinds = s->kinds; /* it need not subscribe to what it claims */
    s->kinds |= SLIPSTREAM_KIND_BIT(SLIPSTREAM_KIND_PAYLOAD);
    deliver_to(sequencer, s, &(piece){.frames = frame, .len = len});
    ss_sequencer_wake_sleepers(sequencer);
    if (s->kinds != 0)
        s->kinds = kinds;
    wait_if_allowed(sequencer);
    return SLIPSTREAM_OK;
}

int32_t ss_sequencer_route(ss_sequencer *sequencer, ss_draft *draft) {
    draft->flags |= SLIPSTREAM_FRAME_ROUTED;
    if (ss_sequencer_inside_callback(sequencer))
        return claimant(sequencer, &draft->spans[1]) == NULL
                   ? SLIPSTREAM_NOT_FOUND
                   : ss_sequencer_put_draft(sequencer, draft);
    const size_t size = ss_frame_size(draft);
    if (size == 0)
        return SLIPSTREAM_TOO_LARGE;
    if (!reserve(&sequencer->scratch, size))
        return SLIPSTREAM_NO_MEMORY;
    ss_frame_write(sequencer->scratch.data, size, draft);
    return route_frame(sequencer, sequencer->scratch.data, size);
}

void ss_sequencer_send_deferred(ss_sequencer *sequencer) {
    while (sequencer->deferred.len > 0) {
        ss_buffer taken = sequencer->deferred;
        memset(&sequencer->deferred, 0, sizeof sequencer->deferred);
        for (size_t at = 0, len; at < taken.len; at += len) {
            uint8_t *frame = taken.data + at;
            len = slipstream_load_u32(frame);
            if ((slipstream_load_u32(frame + 8) & SLIPSTREAM_FRAME_ROUTED) != 0)
                route_frame(sequencer, frame, len);
            else
                ss_sequencer_put_own(sequencer, frame, len, false);
        }
        free(taken.data);
    }
}
