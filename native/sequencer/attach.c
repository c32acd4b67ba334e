/* attach: plugins come, change and go while events are sent. */
#include "sequencer/types.h"

#include <stdlib.h>
#include <string.h>

/* What its instance rejects is looked for in this run; NULL: there is none any more. */
static void set_run(ss_slot *s, const slipstream_delivery *run) {
    if (s->host == NULL)
        return;
    ss_lock_take(&s->host->settle.lock);
    s->host->settle.delivery = run;
    ss_lock_release(&s->host->settle.lock);
}

/* Fills the slot from an instance; ordinals and counters stay. */
static bool take_instance(ss_slot *s, ss_instance *instance, uint64_t acked) {
    const slipstream_plugin *table = ss_instance_table(instance);
    ss_instance_info info;
    ss_instance_describe(instance, &info);
    ss_slot_drop_claims(s);
    const char *claim;
    for (uint32_t i = 0; (claim = ss_instance_claim(instance, i)) != NULL; i++)
        if (!ss_slot_add_claim(s, claim))
            return false;
    s->kinds = info.kinds;
    s->call = table->on_broadcast;
    s->instance = table->instance;
    s->host = ss_instance_host(instance);
    s->log_id = s->host->log_id;
    s->flags = table->flags;
    if (ss_host_may_wait(s->host)) /* for Python: whoever broadcasts must not keep its lock */
        s->flags &= ~(uint32_t)SLIPSTREAM_FLAG_PROMPT;
    atomic_store_explicit(&s->host->delivered, s->ordinal, memory_order_relaxed);
    atomic_store_explicit(&s->host->acked, acked, memory_order_relaxed);
    set_run(s, &s->delivery);
    return true;
}

/* Holds the sequencer and finds a slot. Where it is not OK nothing is held. */
static int32_t enter_slot(ss_sequencer *sequencer, uint32_t id, uint32_t ms, ss_slot **s) {
    const int32_t status = ss_sequencer_enter(sequencer, ms);
    if (status != SLIPSTREAM_OK)
        return status;
    *s = ss_slot_find(sequencer, id);
    if (*s != NULL)
        return SLIPSTREAM_OK;
    ss_sequencer_leave(sequencer);
    return SLIPSTREAM_NOT_FOUND;
}

static int32_t leave(ss_sequencer *sequencer, int32_t status) {
    ss_sequencer_leave(sequencer);
    return status;
}

/* ---- Coming ---------------------------------------------------------------------------- */

/* The same for a new slot, which `leave_new` adds. */
static int32_t enter_new(ss_sequencer *sequencer, uint32_t log_id, uint32_t ms, ss_slot **out) {
    const int32_t status = ss_sequencer_enter(sequencer, ms);
    if (status != SLIPSTREAM_OK)
        return status;
    ss_slot *s = calloc(1, sizeof *s);
    if (s == NULL || sequencer->count == SS_SLOTS_MAX) {
        free(s);
        return leave(sequencer, s == NULL ? SLIPSTREAM_NO_MEMORY : SLIPSTREAM_TOO_LARGE);
    }
    s->delivery.struct_size = sizeof s->delivery;
    s->delivery.attempt = 1;
    s->delivery.count = 1;
    s->id = sequencer->next_id++;
    s->log_id = log_id;
    *out = s;
    return SLIPSTREAM_OK;
}

static int32_t leave_new(ss_sequencer *sequencer, ss_slot *s, uint32_t *id) {
    *id = s->id;
    ss_os_mutex_lock(&sequencer->slots_lock);
    sequencer->slots[sequencer->count++] = s;
    ss_os_mutex_unlock(&sequencer->slots_lock);
    ss_slots_refresh(sequencer);
    return leave(sequencer, SLIPSTREAM_OK);
}

int32_t ss_sequencer_attach(ss_sequencer *sequencer, ss_instance *instance, uint32_t ms,
                            uint32_t *id) {
    ss_slot *s;
    const int32_t status = enter_new(sequencer, 0, ms, &s);
    if (status != SLIPSTREAM_OK)
        return status;
    if (take_instance(s, instance, 0))
        return leave_new(sequencer, s, id);
    ss_slot_free(s);
    return leave(sequencer, SLIPSTREAM_NO_MEMORY);
}

int32_t ss_sequencer_attach_function(ss_sequencer *sequencer, uint64_t kinds, void *context,
                                     uint32_t log_id, ss_on_broadcast function, uint32_t ms,
                                     uint32_t *id) {
    ss_slot *s;
    const int32_t status = enter_new(sequencer, log_id, ms, &s);
    if (status != SLIPSTREAM_OK)
        return status;
    s->kinds = kinds == 0 ? 0 : kinds | SLIPSTREAM_KIND_BIT(SLIPSTREAM_KIND_GAP);
    s->call = function;
    s->instance = context;
    s->flags = SLIPSTREAM_FLAG_PROMPT; /* it needs the interpreter lock: keep it */
    return leave_new(sequencer, s, id);
}

int32_t ss_sequencer_attach_queue(ss_sequencer *sequencer, ss_queue *queue, uint64_t kinds,
                                 uint32_t log_id, uint32_t ms, uint32_t *id) {
    ss_slot *s;
    const int32_t status = enter_new(sequencer, log_id, ms, &s);
    if (status != SLIPSTREAM_OK)
        return status;
    s->kinds = kinds;
    s->queue = queue;
    ss_queue_set_log(queue, sequencer->log, log_id);
    s->flags = SLIPSTREAM_FLAG_PROMPT; /* putting into a ring is */
    return leave_new(sequencer, s, id);
}

/* ---- Changing -------------------------------------------------------------------------- */

int32_t ss_sequencer_renew_queue(ss_sequencer *sequencer, uint32_t id, uint64_t kinds,
                                uint32_t log_id, const char *const *claims, size_t claim_count,
                                uint32_t ms) {
    ss_slot *s;
    int32_t status = enter_slot(sequencer, id, ms, &s);
    if (status != SLIPSTREAM_OK)
        return status;
    s->kinds = kinds;
    s->log_id = log_id;
    ss_queue_set_log(s->queue, sequencer->log, log_id);
    ss_slot_drop_claims(s);
    for (size_t i = 0; i < claim_count && status == SLIPSTREAM_OK; i++)
        status = ss_slot_add_claim(s, claims[i]) ? SLIPSTREAM_OK : SLIPSTREAM_NO_MEMORY;
    ss_slots_refresh(sequencer);
    return leave(sequencer, status);
}

static uint64_t count_pending(const ss_slot *s) {
    return s->pending.last == 0 ? 0 : s->pending.last - s->pending.first + 1;
}

/* slots_lock is held. */
static uint64_t acknowledged(const ss_slot *s) {
    if (s->host != NULL && (s->flags & SLIPSTREAM_FLAG_EXPLICIT_ACK) != 0)
        return atomic_load_explicit(&s->host->acked, memory_order_relaxed);
    return ss_counter_read(&s->settled) - count_pending(s) - s->behind;
}

int32_t ss_sequencer_replace(ss_sequencer *sequencer, uint32_t id, ss_instance *instance,
                             uint32_t ms) {
    ss_slot *s;
    const int32_t status = enter_slot(sequencer, id, ms, &s);
    if (status != SLIPSTREAM_OK)
        return status;
    ss_os_mutex_lock(&sequencer->slots_lock); /* ss_sequencer_stats looks into the host */
    const uint64_t acked = acknowledged(s);
    set_run(s, NULL);
    const bool taken = take_instance(s, instance, acked);
    s->behind = 0;
    ss_os_mutex_unlock(&sequencer->slots_lock);
    ss_slots_refresh(sequencer);
    return leave(sequencer, taken ? SLIPSTREAM_OK : SLIPSTREAM_NO_MEMORY);
}

int32_t ss_sequencer_set_state(ss_sequencer *sequencer, uint32_t id, uint32_t state, uint32_t ms) {
    ss_slot *s;
    const int32_t status = enter_slot(sequencer, id, ms, &s);
    if (status != SLIPSTREAM_OK)
        return status;
    atomic_store_explicit(&s->state, state, memory_order_relaxed);
    if (state == SS_SLOT_RUNNING) {
        ss_slot_tell_gap(sequencer, s);
    } else if (state == SS_SLOT_FAILED) {
        s->kinds = 0;
        ss_slots_refresh(sequencer);
    }
    return leave(sequencer, status);
}

int32_t ss_sequencer_set_letters(ss_sequencer *sequencer, uint32_t id, ss_letters *letters,
                                 uint32_t ms) {
    ss_slot *s;
    const int32_t status = enter_slot(sequencer, id, ms, &s);
    if (status != SLIPSTREAM_OK)
        return status;
    s->letters = letters;
    return leave(sequencer, status);
}

int32_t ss_sequencer_claim(ss_sequencer *sequencer, uint32_t id, const char *name, uint32_t ms) {
    ss_slot *s;
    const int32_t status = enter_slot(sequencer, id, ms, &s);
    if (status != SLIPSTREAM_OK)
        return status;
    const bool added = ss_slot_add_claim(s, name);
    ss_slots_refresh(sequencer);
    return leave(sequencer, added ? SLIPSTREAM_OK : SLIPSTREAM_NO_MEMORY);
}

int32_t ss_sequencer_hold(ss_sequencer *sequencer, uint32_t id, uint32_t ms) {
    const int32_t status = ss_sequencer_enter(sequencer, ms);
    if (status == SLIPSTREAM_OK)
        atomic_store_explicit(&sequencer->busy, (int32_t)id, memory_order_relaxed);
    return status;
}

void ss_sequencer_unhold(ss_sequencer *sequencer, bool stuck) {
    ss_slot *s =
        stuck ? ss_slot_find(sequencer, (uint32_t)ss_sequencer_busy_slot(sequencer)) : NULL;
    if (s != NULL && ss_slot_is_open(s))
        atomic_store_explicit(&s->state, SS_SLOT_PAUSED, memory_order_relaxed);
    atomic_store_explicit(&sequencer->busy, -1, memory_order_relaxed);
    ss_sequencer_leave(sequencer);
}

/* ---- Counters, and going --------------------------------------------------------------- */

static uint64_t look(const ss_counter *c) {
    /* Pairs with the release in ss_counter_show. */
    return atomic_load_explicit(c, memory_order_acquire);
}

/* slots_lock is held. A piece may be counted meanwhile, which takes no time. */
static void describe(const ss_slot *s, ss_stats *out) {
    uint64_t settled;
    unsigned tries = 0;
    do {
        if (++tries % 64 == 0)
            ss_os_yield();
        settled = look(&s->settled);
        out->delivered = look(&s->delivered);
        out->dead = look(&s->dead);
        out->dead_unkept = look(&s->dead_unkept);
        out->accepted = look(&s->accepted);
    } while (out->accepted != settled);
    out->state = atomic_load_explicit(&s->state, memory_order_relaxed);
    out->status = atomic_load_explicit(&s->status, memory_order_relaxed);
    out->told = ss_counter_read(&s->told);
    out->lost = ss_counter_read(&s->lost);
    memcpy(out->lost_for, s->losses.by, sizeof out->lost_for);
    out->waiting = count_pending(s);
    out->acknowledged = acknowledged(s);
    if (out->acknowledged > settled) /* a piece was counted since */
        out->acknowledged = settled;
    out->samples = ss_counter_read(&s->samples);
    out->total_ns = ss_counter_read(&s->total_ns);
    for (unsigned i = 0; i < SS_TIME_BUCKETS; i++)
        out->buckets[i] = ss_counter_read(&s->buckets[i]);
}

int32_t ss_sequencer_stats(ss_sequencer *sequencer, uint32_t id, ss_stats *out) {
    memset(out, 0, sizeof *out);
    ss_os_mutex_lock(&sequencer->slots_lock);
    const ss_slot *s = ss_slot_find(sequencer, id);
    if (s != NULL)
        describe(s, out);
    ss_os_mutex_unlock(&sequencer->slots_lock);
    return s == NULL ? SLIPSTREAM_NOT_FOUND : SLIPSTREAM_OK;
}

int32_t ss_sequencer_detach(ss_sequencer *sequencer, uint32_t id, uint32_t ms, ss_stats *last,
                            char *gap, size_t *gap_len) {
    ss_slot *s;
    const int32_t status = enter_slot(sequencer, id, ms, &s);
    if (status != SLIPSTREAM_OK)
        return status;
    *gap_len = s->pending.last == 0 ? 0 : SS_GAP_FRAME_LEN;
    if (*gap_len != 0)
        ss_gap_write((uint8_t *)gap, &s->pending);
    set_run(s, NULL);
    describe(s, last);
    last->undelivered = last->waiting; /* nothing is delivered any more */
    last->waiting = 0;
    ss_os_mutex_lock(&sequencer->slots_lock);
    ss_slot_wake_handed(s);
    uint32_t to = 0;
    for (uint32_t i = 0; i < sequencer->count; i++)
        if (sequencer->slots[i] != s)
            sequencer->slots[to++] = sequencer->slots[i];
    sequencer->count = to;
    ss_os_mutex_unlock(&sequencer->slots_lock);
    ss_waker_rouse(&sequencer->waker); /* it may have looked at a place before another came there */
    ss_slot_free(s);
    ss_slots_refresh(sequencer);
    return leave(sequencer, status);
}
