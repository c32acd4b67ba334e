#include "sequencer/types.h"

#include "frame/usual.h"

#include <stdlib.h>
#include <string.h>

enum {
    RUN_BYTES = 16 * 1024,     /* a longer run is handed over in pieces of about this size */
    SCRATCH_KEPT = 1024 * 1024 /* a larger scratch buffer is given back */
};

bool ss_core_inside_callback(const ss_core *core) {
    return atomic_load_explicit(&core->busy, memory_order_relaxed) >= 0;
}

static void deliver_to(ss_core *core, ss_slot *s, const uint8_t *frames, size_t len) {
    if (s->port != NULL)
        ss_slot_put(core, s, s->kinds, frames, len);
    else if (ss_slot_is_open(s))
        ss_slot_deliver(core, s, frames, len);
    else
        ss_slot_miss(s, s->kinds, frames, len);
}

/* A piece of a run, stamped, to all slots. */
static void deliver_piece(ss_core *core, const uint8_t *frames, size_t len) {
    for (uint32_t i = 0; i < core->count; i++)
        if (core->slots[i]->kinds != 0)
            deliver_to(core, core->slots[i], frames, len);
}

/* ---- Sending ------------------------------------------------------------------------- */

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

static void trim(ss_buffer *b) {
    if (b->room > SCRATCH_KEPT) {
        free(b->data);
        memset(b, 0, sizeof *b);
    }
}

int32_t ss_core_check(const uint8_t *frames, size_t len, size_t limit, ss_sent *sent,
                      uint64_t *kinds, bool *stamped) {
    const size_t end = limit < len ? limit : len;
    int32_t status = SLIPSTREAM_OK;
    slipstream_frame frame;
    bool all_stamped = true;
    size_t at = 0;
    uint64_t count = 0;
    *kinds = 0;
    for (; at < end; count++) {
        if (ss_frame_is_usual(frames + at, ss_frame_room(len - at)) &&
            ss_frame_is_paired(frames + at)) {
            *kinds |= SLIPSTREAM_KIND_BIT(SLIPSTREAM_KIND_MAPPING_UPDATE);
            all_stamped = all_stamped && ss_frame_is_stamped(frames + at);
            at += slipstream_load_u32(frames + at);
            continue;
        }
        status = ss_frame_check(frames + at, len - at, &frame);
        if (status == SLIPSTREAM_OK && (frame.kind == SLIPSTREAM_KIND_GAP ||
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

static void stamp(ss_core *core, uint8_t *frame, int64_t now) {
    if (ss_frame_is_stamped(frame))
        return;
    const uint64_t stream = ss_load_word(frame + 16);
    const int64_t time_ns = (int64_t)ss_load_word(frame + 32);
    ss_frame_stamp(frame, stream != 0 ? stream : core->stream,
                   stream != 0 ? ss_load_word(frame + 24) : ++core->sequence,
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

static int32_t defer(ss_core *core, const uint8_t *frames, size_t len) {
    if (!reserve(&core->deferred, core->deferred.len + len))
        return SLIPSTREAM_NO_MEMORY;
    uint8_t *copy = core->deferred.data + core->deferred.len;
    memcpy(copy, frames, len);
    core->deferred.len += len;
    /* Among what is kept the flag says that a frame goes to its claimant alone. */
    for (size_t at = 0; at < len; at += slipstream_load_u32(copy + at))
        copy[at + 8] &= (uint8_t)~SLIPSTREAM_FRAME_ROUTED;
    return SLIPSTREAM_OK;
}

static void stamp_all(ss_core *core, uint8_t *frames, size_t len) {
    const int64_t now = ss_wall_now(&core->wall);
    for (size_t at = 0; at < len; at += slipstream_load_u32(frames + at))
        stamp(core, frames + at, now);
}

void ss_core_put_own(ss_core *core, uint8_t *frames, size_t len, bool stamped) {
    if (!stamped)
        stamp_all(core, frames, len);
    for (size_t at = 0, end; at < len; at = end) {
        end = piece_end(frames, len, at);
        deliver_piece(core, frames + at, end - at);
    }
    ss_core_wait_if_allowed(core); /* first to every ring that has room, then the waiting */
}

/* Where a single plugin gets single frames, checking and calling go in one pass. */
static void put_directly(ss_core *core, const uint8_t *frames, size_t len, ss_sent *sent) {
    ss_slot *s = core->count == 1 ? core->slots[0] : NULL;
    const uint8_t *rest = frames + sent->offset;
    const size_t rest_len = len - sent->offset;
    if (rest_len < SLIPSTREAM_FRAME_HEADER_LEN || !ss_frame_is_stamped(rest))
        return;
    if (s != NULL && s->host != NULL && ss_slot_is_open(s) &&
        (s->flags & SLIPSTREAM_FLAG_BATCH) == 0 &&
        (s->kinds & SLIPSTREAM_KIND_BIT(SLIPSTREAM_KIND_MAPPING_UPDATE)) != 0 &&
        !ss_core_inside_callback(core))
        ss_slot_deliver_unchecked(core, s, rest, rest_len, sent);
}

/* A single frame that goes into a single ring is stamped there. */
static bool put_into_ring(ss_core *core, const uint8_t *frame, size_t len, ss_sent *sent) {
    ss_port *port;
    if (!ss_frame_is_usual(frame, ss_frame_room(len)) || slipstream_load_u32(frame) != len ||
        !ss_frame_is_paired(frame))
        return false;
    uint8_t *place = ss_core_reserve_in_ring(
        core, SLIPSTREAM_KIND_BIT(SLIPSTREAM_KIND_MAPPING_UPDATE), len, &port);
    if (place == NULL)
        return false;
    memcpy(place, frame, len);
    stamp(core, place, ss_wall_now(&core->wall));
    ss_port_commit(port, len);
    sent->index = 1;
    sent->offset = len;
    return true;
}

int32_t ss_core_put_frames(ss_core *core, const uint8_t *frames, size_t len, ss_sent *sent) {
    if (put_into_ring(core, frames, len, sent))
        return SLIPSTREAM_OK;
    memset(sent, 0, sizeof *sent);
    for (;;) {
        put_directly(core, frames, len, sent);
        if (sent->offset == len)
            break;
        const uint8_t *piece = frames + sent->offset;
        const ss_sent before = *sent;
        uint64_t kinds;
        bool stamped;
        int32_t status = ss_core_check(piece, len - sent->offset, RUN_BYTES, sent, &kinds,
                                       &stamped);
        const size_t good = sent->offset - before.offset;
        if (ss_core_inside_callback(core)) {
            const int32_t kept = defer(core, piece, good);
            status = kept != SLIPSTREAM_OK ? kept : status;
        } else if (stamped || (kinds & ss_core_kinds(core)) == 0) {
            deliver_piece(core, piece, good);
        } else if (!reserve(&core->scratch, good)) {
            status = SLIPSTREAM_NO_MEMORY;
        } else {
            ss_core_wait_if_allowed(core); /* the buffer is used again */
            memcpy(core->scratch.data, piece, good);
            stamp_all(core, core->scratch.data, good);
            deliver_piece(core, core->scratch.data, good);
            ss_core_wait_if_allowed(core);
        }
        if (status == SLIPSTREAM_NO_MEMORY)
            *sent = before;
        if (status != SLIPSTREAM_OK) {
            ss_core_wait_if_allowed(core);
            return status;
        }
    }
    ss_core_wait_if_allowed(core);
    return SLIPSTREAM_OK;
}

int32_t ss_core_put_draft(ss_core *core, ss_draft *draft) {
    const size_t size = ss_frame_size(draft);
    if (size == 0)
        return SLIPSTREAM_TOO_LARGE;
    ss_port *port;
    uint8_t *place = ss_core_reserve_in_ring(core, SLIPSTREAM_KIND_BIT(draft->kind), size, &port);
    ss_buffer *b = ss_core_inside_callback(core) ? &core->deferred : &core->scratch;
    if (place == NULL && !reserve(b, b->len + size))
        return SLIPSTREAM_NO_MEMORY;
    if (b == &core->deferred) {
        ss_frame_write(b->data + b->len, size, draft);
        b->len += size;
        return SLIPSTREAM_OK;
    }
    if (draft->stream == 0) {
        draft->stream = core->stream;
        draft->sequence = ++core->sequence;
    }
    if (draft->time_ns == 0)
        draft->time_ns = ss_wall_now(&core->wall);
    if (place != NULL) {
        ss_frame_write(place, size, draft);
        ss_port_commit(port, size);
        return SLIPSTREAM_OK;
    }
    ss_frame_write(b->data, size, draft);
    deliver_piece(core, b->data, size);
    ss_core_wait_if_allowed(core);
    return SLIPSTREAM_OK;
}

static ss_slot *claimant(const ss_core *core, const slipstream_bytes *name) {
    for (uint32_t i = 0; i < core->count; i++) {
        ss_slot *s = core->slots[i];
        for (size_t k = 0; k < s->claim_count; k++)
            if (strlen(s->claims[k]) == name->len &&
                memcmp(s->claims[k], name->data, name->len) == 0)
                return s;
    }
    return NULL;
}

/* A frame that is routed: to its claimant alone. */
static int32_t route_frame(ss_core *core, uint8_t *frame, size_t len) {
    slipstream_frame view;
    slipstream_payload payload;
    if (slipstream_read_frame(frame, len, &view) != SLIPSTREAM_OK ||
        slipstream_read_payload(&view, &payload) != SLIPSTREAM_OK)
        return SLIPSTREAM_MALFORMED;
    ss_slot *s = claimant(core, &payload.name);
    if (s == NULL || atomic_load_explicit(&s->state, memory_order_relaxed) == SS_SLOT_FAILED)
        return SLIPSTREAM_NOT_FOUND;
    stamp(core, frame, ss_wall_now(&core->wall));
    const uint64_t kinds = s->kinds; /* it need not subscribe to what it claims */
    s->kinds |= SLIPSTREAM_KIND_BIT(SLIPSTREAM_KIND_PAYLOAD);
    deliver_to(core, s, frame, len);
    if (s->kinds != 0)
        s->kinds = kinds;
    ss_core_wait_if_allowed(core);
    return SLIPSTREAM_OK;
}

int32_t ss_core_route(ss_core *core, ss_draft *draft) {
    draft->flags |= SLIPSTREAM_FRAME_ROUTED;
    if (ss_core_inside_callback(core))
        return claimant(core, &draft->spans[1]) == NULL ? SLIPSTREAM_NOT_FOUND
                                                        : ss_core_put_draft(core, draft);
    const size_t size = ss_frame_size(draft);
    if (size == 0)
        return SLIPSTREAM_TOO_LARGE;
    if (!reserve(&core->scratch, size))
        return SLIPSTREAM_NO_MEMORY;
    ss_frame_write(core->scratch.data, size, draft);
    return route_frame(core, core->scratch.data, size);
}

/* What callbacks sent while the outer call was under way, in the order in which they did. */
static void send_deferred(ss_core *core) {
    while (core->deferred.len > 0) {
        ss_buffer taken = core->deferred;
        memset(&core->deferred, 0, sizeof core->deferred);
        for (size_t at = 0, len; at < taken.len; at += len) {
            uint8_t *frame = taken.data + at;
            len = slipstream_load_u32(frame);
            if ((slipstream_load_u32(frame + 8) & SLIPSTREAM_FRAME_ROUTED) != 0)
                route_frame(core, frame, len);
            else
                ss_core_put_own(core, frame, len, false);
        }
        free(taken.data);
    }
}

/* ---- The sequencer ------------------------------------------------------------------- */

bool ss_core_is_open(const ss_core *core) {
    return atomic_load_explicit(&core->closed, memory_order_acquire) == 0 && !ss_forked();
}

bool ss_core_inside(const ss_core *core) {
    return ss_lock_is_mine(&core->lock);
}

bool ss_core_try_enter(ss_core *core) {
    return ss_lock_try(&core->lock);
}

int32_t ss_core_enter(ss_core *core, uint32_t ms) {
    if (!ss_core_is_open(core) || ss_core_inside(core))
        return SLIPSTREAM_WRONG_STATE;
    if (!ss_lock_wait(&core->lock, ms))
        return SLIPSTREAM_TIMEOUT;
    ss_core_may_wait(core, NULL); /* whoever waits for the sequencer holds no other lock */
    if (ss_core_is_open(core))
        return SLIPSTREAM_OK;
    ss_lock_release(&core->lock);
    return SLIPSTREAM_WRONG_STATE;
}

bool ss_core_has_more(const ss_core *core) {
    return core->waiting > 0 || core->deferred.len > 0;
}

void ss_core_may_wait(ss_core *core, bool (*interrupted)(void)) {
    core->may_wait = true;
    core->hurry = false;
    core->interrupted = interrupted;
}

int32_t ss_core_leave(ss_core *core) {
    if (core->waiting > 0)
        ss_core_wait_for_room(core);
    if (core->deferred.len > 0)
        send_deferred(core);
    const int32_t status = core->too_large > 0 ? SLIPSTREAM_TOO_LARGE : SLIPSTREAM_OK;
    core->too_large = 0;
    core->may_wait = false;
    trim(&core->scratch);
    ss_lock_release(&core->lock);
    return status;
}

uint64_t ss_core_kinds(const ss_core *core) {
    return atomic_load_explicit(&core->kinds, memory_order_relaxed);
}

uint64_t ss_core_slow_kinds(const ss_core *core) {
    return atomic_load_explicit(&core->slow_kinds, memory_order_relaxed);
}

uint64_t ss_core_claimed(const ss_core *core) {
    return atomic_load_explicit(&core->claimed, memory_order_relaxed);
}

int32_t ss_core_busy_slot(const ss_core *core) {
    return atomic_load_explicit(&core->busy, memory_order_relaxed);
}

/* ---- Calls from outside ---------------------------------------------------------------- */

enum { SEND_WAIT_MS = 30000 };

int32_t ss_core_send(ss_core *core, const uint8_t *frames, size_t len, ss_sent *sent) {
    int32_t status = ss_core_enter(core, SEND_WAIT_MS);
    if (status != SLIPSTREAM_OK)
        return status;
    status = ss_core_put_frames(core, frames, len, sent);
    const int32_t left = ss_core_leave(core);
    return status != SLIPSTREAM_OK ? status : left;
}

int32_t ss_core_mapping_update(ss_core *core, const uint8_t *program_id, size_t program_id_len,
                               const uint8_t *mapping_name, size_t mapping_name_len,
                               const uint8_t *key, size_t key_len, const uint8_t *value,
                               size_t value_len, uint64_t height) {
    ss_draft draft = {.kind = SLIPSTREAM_KIND_MAPPING_UPDATE,
                      .height = height,
                      .spans = {{program_id, program_id_len},
                                {mapping_name, mapping_name_len},
                                {key, key_len},
                                {value, value_len}}};
    int32_t status = ss_core_enter(core, SEND_WAIT_MS);
    if (status != SLIPSTREAM_OK)
        return status;
    status = ss_core_put_draft(core, &draft);
    const int32_t left = ss_core_leave(core);
    return status != SLIPSTREAM_OK ? status : left;
}

/* ---- Life ------------------------------------------------------------------------------ */

ss_core *ss_core_new(ss_logq *log, uint64_t stream) {
    ss_core *core = calloc(1, sizeof *core);
    if (core == NULL)
        return NULL;
    ss_ticks_start();
    ss_forked(); /* makes the mark before anybody can fork */
    ss_logq_retain(log);
    core->log = log;
    core->stream = stream;
    core->references = 1;
    core->busy = -1;
    pthread_mutex_init(&core->slots_lock, NULL);
    return core;
}

void ss_core_retain(ss_core *core) {
    atomic_fetch_add_explicit(&core->references, 1, memory_order_relaxed);
}

void ss_core_release(ss_core *core) {
    if (atomic_fetch_sub_explicit(&core->references, 1, memory_order_acq_rel) != 1)
        return;
    for (uint32_t i = 0; i < core->count; i++)
        ss_slot_free(core->slots[i]);
    pthread_mutex_destroy(&core->slots_lock);
    ss_logq_release(core->log);
    free(core->scratch.data);
    free(core->deferred.data);
    free(core);
}

int32_t ss_core_close(ss_core *core, uint32_t ms) {
    const int32_t status = ss_core_enter(core, ms);
    if (status != SLIPSTREAM_OK)
        return status;
    atomic_store_explicit(&core->closed, 1, memory_order_release);
    atomic_store_explicit(&core->kinds, 0, memory_order_relaxed);
    ss_core_leave(core);
    return SLIPSTREAM_OK;
}
