/* slots: the plugins that a sequencer knows, and what they want together. */
#include "sequencer/types.h"

#include <stdlib.h>
#include <string.h>

ss_slot *ss_slot_find(const ss_sequencer *sequencer, uint32_t id) {
    for (uint32_t i = 0; i < sequencer->count; i++)
        if (sequencer->slots[i]->id == id)
            return sequencer->slots[i];
    return NULL;
}

static bool is_prompt(const ss_slot *s) {
    return (s->flags & SLIPSTREAM_FLAG_PROMPT) != 0;
}

void ss_slots_refresh(ss_sequencer *sequencer) {
    uint64_t kinds = 0;
    uint64_t slow = 0;
    uint64_t claimed = 0;
    for (uint32_t i = 0; i < sequencer->count; i++) {
        const ss_slot *s = sequencer->slots[i];
        kinds |= s->kinds;
        if (!is_prompt(s))
            slow |= s->kinds | (s->claim_count > 0 ? SLIPSTREAM_KIND_BIT(SLIPSTREAM_KIND_PAYLOAD) : 0);
        claimed += s->claim_count;
    }
    /* Nobody broadcasts them; the bit of a GAP says that somebody subscribes to anything. */
    kinds &= ~(SLIPSTREAM_KIND_BIT(SLIPSTREAM_KIND_GAP) | SLIPSTREAM_KIND_BIT(SLIPSTREAM_KIND_MARK));
    atomic_store_explicit(&sequencer->kinds, kinds, memory_order_relaxed);
    atomic_store_explicit(&sequencer->slow_kinds, slow, memory_order_relaxed);
    atomic_store_explicit(&sequencer->claimed, claimed, memory_order_relaxed);
}

void ss_sequencer_disown(ss_sequencer *sequencer) {
    for (uint32_t i = 0; i < sequencer->count; i++) {
        sequencer->slots[i]->kinds = 0;
        sequencer->slots[i]->waiting = NULL;
    }
    ss_slots_refresh(sequencer);
    sequencer->waiting = 0;
    sequencer->sleeper_count = 0;
    sequencer->deferred.len = 0;
    sequencer->too_large = 1; /* who leaves looks closer */
}

bool ss_slot_add_claim(ss_slot *s, const char *name) {
    char **claims = realloc(s->claims, (s->claim_count + 1) * sizeof *claims);
    if (claims == NULL)
        return false;
    s->claims = claims;
    claims[s->claim_count] = strdup(name);
    if (claims[s->claim_count] == NULL)
        return false;
    s->claim_count++;
    return true;
}

void ss_slot_drop_claims(ss_slot *s) {
    for (size_t i = 0; i < s->claim_count; i++)
        free(s->claims[i]);
    s->claim_count = 0;
}

void ss_slot_free(ss_slot *s) {
    ss_slot_drop_claims(s);
    free(s->claims);
    free(s);
}

/* ---- What others ask ------------------------------------------------------------------- */

uint64_t ss_sequencer_kinds(const ss_sequencer *sequencer) {
    return atomic_load_explicit(&sequencer->kinds, memory_order_relaxed);
}

uint64_t ss_sequencer_slow_kinds(const ss_sequencer *sequencer) {
    return atomic_load_explicit(&sequencer->slow_kinds, memory_order_relaxed);
}

uint64_t ss_sequencer_claimed(const ss_sequencer *sequencer) {
    return atomic_load_explicit(&sequencer->claimed, memory_order_relaxed);
}

int32_t ss_sequencer_busy_slot(const ss_sequencer *sequencer) {
    return atomic_load_explicit(&sequencer->busy, memory_order_relaxed);
}

bool ss_sequencer_inside_callback(const ss_sequencer *sequencer) {
    return atomic_load_explicit(&sequencer->busy, memory_order_relaxed) >= 0;
}
