#include "ring/cursor.h"

#include "base/clock.h"

#include <stdlib.h>
#include <string.h>

enum {
    CLAIM = 64 * 1024,       /* copied out at once */
    COPY_KEPT = 1024 * 1024, /* a larger buffer is given back */
    LOOKS = 3,               /* before it sleeps */
    /* Pauses between two of them, some 2 us. Each look takes lines from the producer, and the
     * processor fetches those behind, which are going to be written next, on its own: so let
     * something come together. */
    RELAX = 64,
    BLIND_MS = 10, /* without any barrier: how late it may be */
    SHORT_SLEEP_NS = 50 * 1000,
};

void ss_cursor_start(ss_cursor *cursor, const ss_view *view) {
    *cursor = (ss_cursor){.view = view,
                          .at = view->head->resume_at,
                          .seen = view->head->resume_at,
                          /* model: replay consumer, load after */
                          .expected = view->head->resume_after + 1,
                          .sleep = (uint32_t)ss_ticks()};
}

void ss_cursor_end(ss_cursor *cursor) {
    free(cursor->copy);
    cursor->copy = NULL;
}

/* ---- Reading in place ------------------------------------------------------------------ */

/* Checks a record, of which `len` bytes are readable and `published` exist; adds its gap to
 * what is owed. Returns the length of its head; 0 if it makes no sense. */
static size_t enter_record(ss_cursor *cursor, const uint8_t *at, size_t len, uint64_t published,
                           ss_record *record) {
    ss_gap_block gap = {0};
    size_t head = sizeof *record;
    if (len < head)
        return 0;
    memcpy(record, at, sizeof *record);
    if ((record->count & SS_RECORD_HAS_GAP) != 0) {
        if (len < head + sizeof gap)
            return 0;
        memcpy(&gap, at + head, sizeof gap);
        head += sizeof gap;
        if (gap.first == 0 || gap.first > gap.last || gap.last + 1 != record->first)
            return 0;
    }
    record->count &= ~SS_RECORD_HAS_GAP;
    if (record->bytes % 8 != 0 || head + record->bytes > published ||
        (uint64_t)record->count * SLIPSTREAM_FRAME_HEADER_LEN > record->bytes ||
        (record->count == 0 && record->bytes != 0))
        return 0;
    if ((gap.last != 0 ? gap.first : record->first) > cursor->expected ||
        cursor->expected > record->first + record->count)
        return 0;
    if (gap.last >= cursor->expected) {
        gap.first = cursor->expected;
        ss_gap_add(&cursor->owed, &gap);
        cursor->expected = gap.last + 1;
    }
    return head;
}

static enum ss_took take_in_place(ss_cursor *cursor, uint64_t published, ss_chunk *chunk) {
    const ss_view *view = cursor->view;
    const uint8_t *at = view->data + (cursor->at & (view->bytes - 1));
    ss_record record;
    const size_t head = enter_record(cursor, at, published, published, &record);
    if (head == 0)
        return SS_TOOK_DAMAGED;
    *chunk = (ss_chunk){at + head, record.bytes, record.first, record.count, 0};
    while (chunk->first < cursor->expected && chunk->count > 0) { /* acknowledged before */
        const size_t step = ss_frame_step(chunk->frames, chunk->len);
        if (step == 0)
            return SS_TOOK_DAMAGED;
        chunk->frames += step;
        chunk->len -= step;
        chunk->first++;
        chunk->count--;
    }
    cursor->at += head + record.bytes;
    cursor->expected = chunk->first + chunk->count;
    return SS_TOOK_CHUNK;
}

/* ---- Reading what may be dropped meanwhile --------------------------------------------- */

/* What the producer says of the dropped, all from one moment: pairs with the releases in
 * drop_oldest and set_tail (ring.c). */
static void read_lost(const ss_ring_head *head, uint64_t *tail, uint64_t *tail_ordinal,
                      ss_gap_block *lost) {
    for (unsigned tries = 1;; tries++) {
        /* model: claim consumer, load sequence */
        const uint32_t sequence = atomic_load_explicit(&head->lost_sequence, memory_order_acquire);
        if (tries % 64 == 0)
            ss_os_yield(); /* its writer may need this processor */
        if (sequence % 2 != 0)
            continue;
        /* model: claim consumer, load tail */
        *tail = atomic_load_explicit(&head->tail, memory_order_acquire);
        *tail_ordinal = atomic_load_explicit(&head->tail_ordinal, memory_order_acquire);
        lost->kinds = __atomic_load_n(&head->lost.kinds, __ATOMIC_ACQUIRE);
        lost->first_height = __atomic_load_n(&head->lost.first_height, __ATOMIC_ACQUIRE);
        lost->last_height = __atomic_load_n(&head->lost.last_height, __ATOMIC_ACQUIRE);
        lost->stream = __atomic_load_n(&head->lost.stream, __ATOMIC_ACQUIRE);
        lost->first_sequence = __atomic_load_n(&head->lost.first_sequence, __ATOMIC_ACQUIRE);
        lost->last_sequence = __atomic_load_n(&head->lost.last_sequence, __ATOMIC_ACQUIRE);
        lost->reasons = __atomic_load_n(&head->lost.reasons, __ATOMIC_ACQUIRE);
        if (atomic_load_explicit(&head->lost_sequence, memory_order_relaxed) == sequence)
            return;
    }
}

static void tell_taken(const ss_cursor *cursor) {
    const ss_view *view = cursor->view;
    /* model: claim consumer, store taken */
    ss_tell(&view->control->taken, view->head->key, SS_PLACE_TAKEN, cursor->expected - 1);
}

/* Goes to the oldest record that is left, if ours is gone. */
static void catch_up(ss_cursor *cursor) {
    uint64_t tail;
    uint64_t tail_ordinal;
    ss_gap_block lost = {0};
    read_lost(cursor->view->head, &tail, &tail_ordinal, &lost);
    if (tail_ordinal < cursor->expected)
        return; /* the producer has thought better of it */
    lost.first = cursor->expected;
    lost.last = tail_ordinal;
    ss_gap_add(&cursor->owed, &lost);
    cursor->at = tail;
    cursor->expected = tail_ordinal + 1;
    cursor->rest = 0;
    tell_taken(cursor);
}

static void tell_claim(const ss_cursor *cursor, uint64_t at) {
    const ss_view *view = cursor->view;
    /* model: claim consumer, store claim */
    ss_tell(&view->control->claim, view->head->key, SS_PLACE_CLAIM, at);
}

/* Keeps the producer from dropping what follows; false if it has. Claim first, fence, then
 * the tail: the producer does it the other way round (drop_oldest in ring.c). */
static bool claim(const ss_cursor *cursor) {
    /* model: claim consumer, store claim */
    tell_claim(cursor, cursor->at);
    /* model: claim consumer, fence; claim consumer, load tail */
    atomic_thread_fence(memory_order_seq_cst);
    return atomic_load_explicit(&cursor->view->head->tail, memory_order_acquire) <= cursor->at;
}

/* The copy is made before the bytes are free. */
static void release(const ss_cursor *cursor) {
    tell_claim(cursor, SS_NO_CLAIM);
}

static bool make_copy_room(ss_cursor *cursor, size_t len) {
    const size_t wanted = len > CLAIM ? len : CLAIM;
    if (cursor->copy_room >= wanted && (cursor->copy_room <= COPY_KEPT || len > COPY_KEPT))
        return true;
    free(cursor->copy);
    cursor->copy = malloc(wanted);
    cursor->copy_room = cursor->copy == NULL ? 0 : wanted;
    return cursor->copy != NULL;
}

/* Finds the whole frames in `len` copied bytes, of which `head` are a record's head. Sets
 * *need if not even one is complete. */
static enum ss_took cut_chunk(ss_cursor *cursor, size_t head, size_t len, uint64_t first,
                              ss_chunk *chunk, size_t *need) {
    size_t at = head;
    *chunk = (ss_chunk){cursor->copy + head, 0, first, 0, 0};
    while (cursor->rest_count > 0 && len - at >= SLIPSTREAM_FRAME_HEADER_LEN) {
        const uint8_t *frame = cursor->copy + at;
        const size_t step = ss_frame_step(frame, (size_t)cursor->rest);
        if (step == 0)
            return SS_TOOK_DAMAGED;
        if (step > len - at)
            break;
        at += step;
        cursor->rest -= step;
        cursor->rest_count--;
        if (chunk->first < cursor->expected) { /* acknowledged before */
            chunk->frames += step;
            chunk->first++;
        } else {
            chunk->len += step;
            chunk->count++;
        }
    }
    if (at == head && cursor->rest_count > 0) {
        *need = head + (len - at >= SLIPSTREAM_FRAME_HEADER_LEN
                            ? slipstream_load_u32(cursor->copy + at)
                            : SLIPSTREAM_FRAME_HEADER_LEN);
        return SS_TOOK_NOTHING;
    }
    cursor->at += at;
    cursor->expected = chunk->first + chunk->count;
    return SS_TOOK_CHUNK;
}

static enum ss_took take_copy(ss_cursor *cursor, ss_chunk *chunk) {
    const ss_view *view = cursor->view;
    size_t need = 0;
    for (;;) {
        if (atomic_load_explicit(&view->head->tail_ordinal, memory_order_acquire) >=
            cursor->expected)
            catch_up(cursor);
        /* model: claim consumer, load head */
        const uint64_t published =
            atomic_load_explicit(&view->head->head, memory_order_acquire) - cursor->at;
        if (published == 0) {
            *chunk = (ss_chunk){.first = cursor->expected};
            return cursor->owed.last != 0 ? SS_TOOK_CHUNK : SS_TOOK_NOTHING;
        }
        const size_t there = (size_t)(cursor->rest > 0 ? cursor->rest : published);
        size_t len = there < CLAIM ? there : CLAIM;
        if (len < need)
            len = need;
        if (published > view->bytes) { /* dropped, and written over, since we looked? */
            if (atomic_load_explicit(&view->head->tail, memory_order_acquire) <= cursor->at)
                return SS_TOOK_DAMAGED;
            continue;
        }
        if (len > published)
            return SS_TOOK_DAMAGED;
        if (!make_copy_room(cursor, len))
            return SS_TOOK_NO_MEMORY;
        if (!claim(cursor)) {
            release(cursor);
            need = 0;
            continue;
        }
        memcpy(cursor->copy, view->data + (cursor->at & (view->bytes - 1)), len);
        const ss_cursor before = *cursor;
        ss_record record = {.first = cursor->expected};
        size_t head = 0;
        enum ss_took took = SS_TOOK_CHUNK;
        if (cursor->rest == 0) {
            head = enter_record(cursor, cursor->copy, len, published, &record);
            cursor->rest = record.bytes;
            cursor->rest_count = record.count;
            took = head == 0 ? SS_TOOK_DAMAGED : took;
        }
        if (took == SS_TOOK_CHUNK)
            took = cut_chunk(cursor, head, len, record.first, chunk, &need);
        if (took == SS_TOOK_CHUNK)
            tell_taken(cursor);
        release(cursor);
        if (took != SS_TOOK_NOTHING)
            return took;
        *cursor = before; /* once more, with a claim for the whole of a large event */
    }
}

enum ss_took ss_cursor_take(ss_cursor *cursor, ss_chunk *chunk) {
    const ss_view *view = cursor->view;
    if (view->overflow == SS_OVERFLOW_DROP_OLDEST)
        return take_copy(cursor, chunk);
    /* Looked at only when there is nothing left of what was seen: each look takes the line
     * from the producer. Pairs with the release in ss_ring_commit. */
    if (cursor->seen == cursor->at)
        /* model: park consumer, load head */
        cursor->seen = atomic_load_explicit(&view->head->head, memory_order_acquire);
    const uint64_t published = cursor->seen - cursor->at;
    if (published == 0)
        return SS_TOOK_NOTHING;
    return published > view->bytes ? SS_TOOK_DAMAGED : take_in_place(cursor, published, chunk);
}

/* ---- Sleeping -------------------------------------------------------------------------- */

static void wait_for_change(const ss_view *view, uint32_t seen, uint64_t ms) {
    ss_os_wait(&view->head->wake, seen, ms * 1000000, view->shared);
}

/* Everything that the producer did before it looked at `sleeping` (ss_ring_wake) is visible
 * behind this, or it sees that we sleep. False if that cannot be had. */
static bool barrier(const ss_view *view) {
    /* model: park consumer, barrier */
    atomic_thread_fence(memory_order_seq_cst);
    return view->head->fences != 0 || ss_os_barrier();
}

void ss_cursor_park(ss_cursor *cursor, bool (*ready)(void *context), void *context, uint64_t ms) {
    const ss_view *view = cursor->view;
    for (unsigned i = 0; i < LOOKS; i++) {
        for (unsigned k = 0; k < RELAX; k++)
            ss_cpu_pause();
        if (ready(context))
            return;
    }
    /* More came than the event that it was woken for, so the next ones are near: whoever waits for
     * the processor goes first, perhaps the producer. Many consumers on few processors would else
     * sleep and be woken all the time, which costs them and the producer more. Once: beside others
     * that compute, each time is a slice of theirs. */
    if (cursor->expected - cursor->woken_at > 1) {
        ss_os_yield();
        if (ready(context))
            return;
    }
    if (++cursor->sleep == 0)
        cursor->sleep = 1;
    /* Read before we say that we sleep: the producer wakes this sleep only once, and it may
     * do so, for something old, before we really do. */
    /* model: park consumer, load wake */
    const uint32_t seen = atomic_load_explicit(&view->head->wake, memory_order_acquire);
    /* model: park consumer, store sleeping */
    atomic_store_explicit(&view->control->sleeping, cursor->sleep, memory_order_release);
    /* model: park consumer, barrier */
    if (!barrier(view) && ms > BLIND_MS)
        ms = BLIND_MS;
    const uint64_t since = ss_os_now_ns();
    /* model: park consumer, load head; park consumer, wait wake */
    if (!ready(context))
        wait_for_change(view, seen, ms);
    cursor->woken_at = cursor->expected;
    atomic_store_explicit(&view->control->sleeping, 0, memory_order_relaxed);
    /* Who is woken takes the processor at once, and where there is but one for both, from the
     * producer, in the middle of its run: let it go on, or it is so with each event. */
    if (ss_os_now_ns() - since < SHORT_SLEEP_NS)
        ss_os_yield();
}

void ss_cursor_nap(const ss_cursor *cursor, uint64_t ms) {
    wait_for_change(cursor->view,
                    atomic_load_explicit(&cursor->view->head->wake, memory_order_acquire), ms);
}
