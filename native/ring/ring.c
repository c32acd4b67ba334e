#include "ring/inner.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* ---- Life ------------------------------------------------------------------------------ */

ss_ring *ss_ring_new(size_t bytes, bool shared, uint32_t overflow) {
    if (bytes < SS_RING_MIN || bytes > SS_RING_MAX || (bytes & (bytes - 1)) != 0 ||
        overflow > SS_OVERFLOW_DROP_OLDEST) {
        errno = EINVAL;
        return NULL;
    }
    ss_ring *ring = calloc(1, sizeof *ring);
    if (ring == NULL)
        return NULL;
    uint64_t key;
    uint8_t *base = NULL;
    ring->bytes = bytes;
    ring->shared = shared;
    ring->overflow = overflow;
    ring->fences = !ss_os_has_barrier();
    ring->sane = true;
    ring->fd = -1;
    ring->nobody = ss_control_new(NULL);
    ring->control = ring->nobody;
    if (ring->nobody != NULL)
        base = ss_os_mirror_new(SS_OS_PAGE, bytes, shared ? &ring->fd : NULL);
    ring->head = (ss_ring_head *)(void *)base;
    if (base == NULL || !ss_os_random(&key, sizeof key)) {
        const int error = errno;
        ss_ring_free(ring);
        errno = error;
        return NULL;
    }
    ring->data = base + SS_OS_PAGE;
    ring->head->key = key;
    ring->head->attempt = 1;
    ring->head->fences = ring->fences;
    ss_ring_attach_control(ring, ring->nobody);
    return ring;
}

void ss_ring_free(ss_ring *ring) {
    if (ring == NULL)
        return;
    ss_os_mirror_free((uint8_t *)ring->head, SS_OS_PAGE, ring->bytes);
    if (ring->fd >= 0)
        ss_os_file_close(ring->fd);
    if (ring->control != ring->nobody)
        ss_control_free(ring->control);
    ss_control_free(ring->nobody);
    ss_outcomes_free(&ring->outcomes);
    free(ring);
}

int ss_ring_fd(const ss_ring *ring) {
    return ring->fd;
}

ss_ring_head *ss_ring_get_head(ss_ring *ring) {
    return ring->head;
}

ss_control *ss_ring_get_control(ss_ring *ring) {
    return ring->shared && ring->control == ring->nobody ? NULL : ring->control;
}

size_t ss_ring_bytes(const ss_ring *ring) {
    return ring->bytes;
}

uint64_t ss_ring_last(const ss_ring *ring) {
    return ring->last;
}

bool ss_ring_is_sane(ss_ring *ring) {
    return ring->sane;
}

ss_view ss_ring_view(ss_ring *ring) {
    return (ss_view){ring->head,  ring->data,     ring->control,
                     ring->bytes, ring->overflow, ring->shared};
}

bool ss_view_open(ss_view *view, int ring_fd, int control_fd, size_t bytes, uint32_t overflow) {
    ss_control *control = ss_control_open(control_fd);
    const uint8_t *base = control == NULL ? NULL : ss_os_mirror_open(ring_fd, SS_OS_PAGE, bytes);
    if (base == NULL) {
        ss_control_free(control);
        return false;
    }
    *view = (ss_view){.head = (const ss_ring_head *)(const void *)base,
                      .data = base + SS_OS_PAGE,
                      .control = control,
                      .bytes = bytes,
                      .overflow = overflow,
                      .shared = 1};
    return true;
}

/* ---- What the consumer says ------------------------------------------------------------ */

/* A value that only grows, told by somebody who may be hostile. The check is written first,
 * so the value may be older than it by one telling, and stays so if the teller was killed
 * in between: both must lie in the order that honest ones have, and the lower counts. */
static bool hear_growing(const ss_ring *ring, const ss_told *told, uint64_t place, uint64_t least,
                         uint64_t *value) {
    /* Pairs with the release in ss_tell. */
    /* model: replay host, load acked; told, load value; told, load check */
    const uint64_t heard = atomic_load_explicit(&told->value, memory_order_acquire);
    const uint64_t check = atomic_load_explicit(&told->check, memory_order_acquire);
    const uint64_t meant = ~check ^ ring->head->key ^ place << 56;
    if (heard < least || heard > meant || meant > ring->published)
        return false;
    *value = heard;
    return true;
}

uint64_t ss_ring_acked(ss_ring *ring) {
    ring->sane = hear_growing(ring, &ring->control->acked, SS_PLACE_ACKED, ring->acked,
                              &ring->acked);
    ss_outcomes_settle(&ring->outcomes, ring->acked);
    return ring->acked;
}

/* Raises `started` to what the consumer was at, once it is gone. It may have gone back by
 * some frames, where a run was taken apart, so value and check come in any order. Nothing
 * to believe: anything may have been started. */
void ss_ring_hear_started(ss_ring *ring) {
    const ss_told *told = &ring->control->started;
    const uint64_t heard = atomic_load_explicit(&told->value, memory_order_acquire);
    const uint64_t meant = ~atomic_load_explicit(&told->check, memory_order_acquire) ^
                           ring->head->key ^ (uint64_t)SS_PLACE_STARTED << 56;
    const bool sane = heard <= ring->published && meant <= ring->published;
    ring->sane = ring->sane && sane;
    const uint64_t started = sane ? heard : ring->published;
    if (started > ring->started)
        ring->started = started;
}

/* What an area says before a consumer has it. */
void ss_ring_begin_control(ss_ring *ring) {
    ss_control *control = ring->control;
    const uint64_t key = ring->head->key;
    ring->woken = 0;
    ring->started = ring->taken = ring->acked;
    ss_tell(&control->acked, key, SS_PLACE_ACKED, ring->acked);
    ss_tell(&control->started, key, SS_PLACE_STARTED, ring->acked);
    ss_tell(&control->run, key, SS_PLACE_RUN, 0);
    atomic_store(&control->sleeping, 0);
    ss_tell(&control->claim, key, SS_PLACE_CLAIM, SS_NO_CLAIM);
    ss_tell(&control->taken, key, SS_PLACE_TAKEN, ring->acked);
}

void ss_ring_attach_control(ss_ring *ring, ss_control *control) {
    ss_control *old = ring->control;
    uint64_t started = 0;
    if (control != old) {
        ss_ring_acked(ring);
        ss_ring_hear_started(ring);
        started = ring->started;
        if (old != ring->nobody)
            ss_control_free(old);
    }
    ring->control = control;
    ss_ring_begin_control(ring);
    if (started > ring->started)
        ring->started = started;
}

/* ---- Room ------------------------------------------------------------------------------ */

static void set_tail(ss_ring *ring, uint64_t tail, uint64_t ordinal) {
    ring->tail = tail;
    ring->tail_ordinal = ordinal;
    /* Pair with the acquires in read_lost, claim and take_copy (cursor.c). */
    atomic_store_explicit(&ring->head->tail_ordinal, ordinal, memory_order_release);
    /* model: claim producer, store tail */
    atomic_store_explicit(&ring->head->tail, tail, memory_order_release);
}

/* Takes back what is acknowledged. */
void ss_ring_take_back(ss_ring *ring) {
    const uint64_t acked = ss_ring_acked(ring);
    uint64_t tail = ring->tail;
    uint64_t ordinal = ring->tail_ordinal;
    if (acked >= ring->published) {
        tail = ring->at;
        ordinal = ring->published;
    }
    while (tail != ring->at) {
        const ss_record *record = ss_record_at(ring, tail);
        if (ss_record_last(record) > acked)
            break;
        ordinal = ss_record_last(record);
        tail += ss_record_len(record);
    }
    if (tail != ring->tail)
        set_tail(ring, tail, ordinal);
}

static size_t room(const ss_ring *ring) {
    return ring->bytes - (size_t)(ring->at - ring->tail);
}

/* Sorts what a dropped record held: frames up to `taken` are with the consumer. */
static void note_dropped(ss_ring *ring, const ss_record *record) {
    const uint64_t taken = ring->taken;
    const uint8_t *frame = ss_record_frames(record);
    const uint64_t last = ss_record_last(record);
    const ss_gap_block gap = ss_record_gap(record);
    ss_gap_add(&ring->dropped_unacked, &gap);
    if (gap.last > taken)
        ss_gap_add(&ring->dropped, &gap);
    for (uint64_t ordinal = record->first; ordinal <= last; ordinal++) {
        const ss_gap_block one = ss_gap_of(frame, ordinal, SLIPSTREAM_GAP_DROPPED_OLDEST);
        ss_gap_add(&ring->dropped_unacked, &one);
        ss_outcomes_note(&ring->outcomes, ordinal, ordinal,
                         ordinal > taken ? SS_NOTED_LOST : SS_NOTED_TAKEN);
        if (ordinal > taken) {
            ss_gap_add(&ring->dropped, &one);
            ring->lost++;
        }
        frame += slipstream_load_u32(frame);
    }
}

/* The consumer may look at head->lost at any time, so each word goes alone. */
void ss_ring_show_dropped(ss_ring *ring) {
    ss_gap_block *shown = &ring->head->lost;
    __atomic_store_n(&shown->first, ring->dropped.first, __ATOMIC_RELAXED);
    __atomic_store_n(&shown->last, ring->dropped.last, __ATOMIC_RELAXED);
    __atomic_store_n(&shown->kinds, ring->dropped.kinds, __ATOMIC_RELAXED);
    __atomic_store_n(&shown->first_height, ring->dropped.first_height, __ATOMIC_RELAXED);
    __atomic_store_n(&shown->last_height, ring->dropped.last_height, __ATOMIC_RELAXED);
    __atomic_store_n(&shown->stream, ring->dropped.stream, __ATOMIC_RELAXED);
    __atomic_store_n(&shown->first_sequence, ring->dropped.first_sequence, __ATOMIC_RELAXED);
    __atomic_store_n(&shown->last_sequence, ring->dropped.last_sequence, __ATOMIC_RELAXED);
    __atomic_store_n(&shown->reasons, ring->dropped.reasons, __ATOMIC_RELAXED);
}

/* To the letter: what is in between here would be counted twice, or not at all. */
static bool hear_taken(ss_ring *ring) {
    uint64_t heard;
    if (!ss_hear(&ring->control->taken, ring->head->key, SS_PLACE_TAKEN, &heard) ||
        heard < ring->taken || heard > ring->published)
        return false;
    ring->taken = heard;
    return true;
}

/* Drops the oldest records until there are `need` bytes; false if the consumer is copying
 * one of them, or has lost its senses. Tail first, fence, then the claim: the consumer does it the other way round
 * (claim in cursor.c), so that at least one of both sees the other. */
static bool drop_oldest(ss_ring *ring, size_t need) {
    ss_ring_head *head = ring->head;
    const uint64_t from = ring->tail;
    const uint64_t from_ordinal = ring->tail_ordinal;
    const uint64_t enough = ring->at + need - ring->bytes;
    uint64_t to = from;
    uint64_t ordinal = from_ordinal;
    while (to < enough) {
        const ss_record *record = ss_record_at(ring, to);
        ordinal = ss_record_last(record);
        to += ss_record_len(record);
    }
    const uint32_t sequence = atomic_load_explicit(&head->lost_sequence, memory_order_relaxed);
    /* model: claim producer, store sequence */
    atomic_store_explicit(&head->lost_sequence, sequence + 1, memory_order_relaxed);
    /* model: claim producer, store tail */
    set_tail(ring, to, ordinal);
    /* model: claim producer, fence */
    atomic_thread_fence(memory_order_seq_cst);
    /* Where it cannot be heard what the consumer has, or is copying, nothing may be dropped. */
    uint64_t claim;
    /* model: claim producer, load claim; claim producer, load taken */
    const bool kept = !ss_hear(&ring->control->claim, ring->head->key, SS_PLACE_CLAIM, &claim) ||
                      (claim >= from && claim < to) || !hear_taken(ring);
    if (kept) {
        set_tail(ring, from, from_ordinal);
    } else {
        if (ring->dropped.last <= ring->taken)
            ring->dropped = (ss_gap_block){0};
        if (ring->dropped_unacked.last <= ring->acked)
            ring->dropped_unacked = (ss_gap_block){0};
        const uint64_t lost = ring->lost;
        for (uint64_t at = from; at != to; at += ss_record_len(ss_record_at(ring, at)))
            note_dropped(ring, ss_record_at(ring, at));
        ss_losses_note(&ring->losses, from_ordinal + 1, ring->lost - lost,
                       SLIPSTREAM_GAP_DROPPED_OLDEST);
        ss_ring_show_dropped(ring);
    }
    /* Pairs with the acquire in read_lost. */
    atomic_store_explicit(&head->lost_sequence, sequence + 2, memory_order_release);
    return !kept;
}

/* The slow path: the known room is too small. */
static __attribute__((noinline)) bool make_room(ss_ring *ring, size_t need, bool may_drop) {
    if (need > ring->bytes)
        return false;
    ss_ring_take_back(ring);
    if (need <= room(ring))
        return true;
    return may_drop && ring->overflow == SS_OVERFLOW_DROP_OLDEST && drop_oldest(ring, need);
}

size_t ss_ring_used(ss_ring *ring) {
    ss_ring_take_back(ring);
    return ring->bytes - room(ring);
}

bool ss_ring_fits(const ss_ring *ring, size_t len) {
    return len <= ring->bytes - sizeof(ss_record) - sizeof(ss_gap_block);
}

/* ---- Putting --------------------------------------------------------------------------- */

static inline uint8_t *reserve(ss_ring *ring, size_t len, bool may_drop) {
    const bool gap = ring->owed.last != 0;
    const size_t before = sizeof(ss_record) + (gap ? sizeof(ss_gap_block) : 0);
    if (len > ring->bytes)
        return NULL;
    if (before + len > room(ring) && !make_room(ring, before + len, may_drop))
        return NULL;
    ring->reserved_gap = gap;
    return ring->data + (ring->at & (ring->bytes - 1)) + before;
}

uint8_t *ss_ring_reserve(ss_ring *ring, size_t len) {
    return reserve(ring, len, true);
}

void ss_ring_commit(ss_ring *ring, size_t len, uint32_t count) {
    uint8_t *at = ring->data + (ring->at & (ring->bytes - 1));
    const ss_record record = {ring->last + 1, (uint32_t)len,
                              count | (ring->reserved_gap ? SS_RECORD_HAS_GAP : 0)};
    memcpy(at, &record, sizeof record);
    ring->at += sizeof record + len;
    if (ring->reserved_gap) {
        memcpy(at + sizeof record, &ring->owed, sizeof ring->owed);
        ring->at += sizeof ring->owed;
        ring->owed = (ss_gap_block){0};
    }
    ring->last += count;
    ring->published = ring->last;
    /* Pairs with the acquires in ss_cursor_take and take_copy: who sees it sees the record. */
    /* model: park producer, store head; claim producer, store head */
    atomic_store_explicit(&ring->head->head, ring->at, memory_order_release);
}

bool ss_ring_put(ss_ring *ring, const uint8_t *frames, size_t len, uint32_t count) {
    uint8_t *place = reserve(ring, len, true);
    if (place == NULL)
        return false;
    memcpy(place, frames, len);
    ss_ring_commit(ring, len, count);
    return true;
}

bool ss_ring_tell_lost(ss_ring *ring) {
    if (ring->owed.last == 0)
        return true;
    /* Not at the cost of events that can still be delivered. */
    if (reserve(ring, 0, false) == NULL)
        return false;
    ss_ring_commit(ring, 0, 0);
    return true;
}

bool ss_ring_must_wake(ss_ring *ring) {
    /* The consumer (ss_cursor_park) sets `sleeping`, has a barrier run on our processor, and
     * looks at what we published; so here it is enough that the compiler keeps the order. */
    /* model: park producer, fence */
    if (ring->fences)
        atomic_thread_fence(memory_order_seq_cst);
    else
        atomic_signal_fence(memory_order_seq_cst);
    /* model: park producer, load sleeping */
    const uint32_t sleep = atomic_load_explicit(&ring->control->sleeping, memory_order_acquire);
    if (__builtin_expect(sleep == 0 || sleep == ring->woken, 1))
        return false;
    ring->woken = sleep; /* each sleep has a number of its own, and one call ends it */
    return true;
}

void ss_ring_end_sleep(ss_ring *ring) {
    /* Pairs with the acquire in ss_cursor_park. */
    /* model: park producer, add wake; park producer, wake wake */
    atomic_fetch_add_explicit(&ring->head->wake, 1, memory_order_release);
    ss_os_wake(&ring->head->wake, ring->shared);
}

void ss_ring_wake(ss_ring *ring) {
    if (ss_ring_must_wake(ring))
        ss_ring_end_sleep(ring);
}
