#include "ring/refusals.h"

static bool is_pending(const ss_refusals *self, uint64_t ordinal) {
    for (uint32_t i = 0; i < self->count; i++)
        if (self->pending[i].ordinal == ordinal)
            return true;
    return false;
}

/* Both locks are held. */
static void add(ss_refusals *self, const ss_letter *given) {
    ss_ring *ring = self->queue->ring;
    ss_letter letter = *given;
    size_t len = 0;
    const uint8_t *frame = ss_ring_find(ring, letter.ordinal, &len); /* looks what is acked */
    const uint64_t settled = ss_ring_outcomes(ring)->settled;
    if (letter.ordinal <= settled || letter.ordinal > ss_ring_last(ring) ||
        ss_outcomes_is_dead(ss_ring_outcomes(ring), letter.ordinal) ||
        is_pending(self, letter.ordinal))
        return;
    if (letter.frame == NULL) {
        letter.frame = frame;
        letter.len = len;
    }
    self->pending[self->count].ordinal = letter.ordinal;
    self->pending[self->count++].added = ss_letters_add(self->letters, &letter);
}

/* The lock is held. */
static void keep(ss_refusals *self) {
    if (self->heard == 0)
        return;
    const bool kept = ss_letters_write(self->letters);
    ss_lock_take(&self->queue->lock);
    for (uint32_t i = 0; i < self->count; i++) {
        const uint64_t ordinal = self->pending[i].ordinal;
        ss_outcomes_note(ss_ring_outcomes(self->queue->ring), ordinal, ordinal,
                         kept && self->pending[i].added ? SS_NOTED_DEAD : SS_NOTED_DEAD_UNKEPT);
    }
    /* Pairs with the acquire in ss_consumer_hear: what it acknowledges then is noted. */
    atomic_fetch_add_explicit(&ss_ring_get_head(self->queue->ring)->kept, self->heard,
                              memory_order_release);
    ss_queue_rouse(self->queue);
    ss_lock_release(&self->queue->lock);
    self->heard = self->count = 0;
}

bool ss_refusals_add(ss_refusals *self, const ss_letter *letter, uint32_t number) {
    ss_lock_take(&self->lock);
    if (self->count == SS_REFUSALS_MAX)
        keep(self);
    const uint32_t kept = atomic_load_explicit(&ss_ring_get_head(self->queue->ring)->kept,
                                               memory_order_relaxed);
    const bool is_next = number == kept + self->heard + 1;
    if (is_next) {
        ss_lock_take(&self->queue->lock);
        add(self, letter);
        ss_lock_release(&self->queue->lock);
        self->heard++;
    }
    ss_lock_release(&self->lock);
    return is_next;
}

void ss_refusals_keep(ss_refusals *self) {
    ss_lock_take(&self->lock);
    keep(self);
    ss_lock_release(&self->lock);
}

void ss_refusals_keep_crash(ss_refusals *self, const ss_letter *letter, uint64_t first) {
    ss_lock_take(&self->lock);
    keep(self);
    const bool added = ss_letters_add(self->letters, letter);
    const bool kept = ss_letters_write(self->letters);
    ss_lock_take(&self->queue->lock);
    ss_outcomes_note(ss_ring_outcomes(self->queue->ring), first, letter->ordinal,
                     added && kept ? SS_NOTED_DEAD : SS_NOTED_DEAD_UNKEPT);
    ss_lock_release(&self->queue->lock);
    ss_lock_release(&self->lock);
}
