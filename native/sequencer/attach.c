/* dispatch_attach: plugins come, change and go while events are sent. */
#include "sequencer/types.h"

#include <stdlib.h>
#include <string.h>

/* Fills the slot from an instance; ordinals and counters stay. */
static bool take_instance(ss_slot *s, ss_instance *instance) {
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
    s->source = s->host->source;
    s->flags = table->flags;
    atomic_store_explicit(&s->host->delivered, s->ordinal, memory_order_relaxed);
    atomic_store_explicit(&s->host->acked, ss_counter_read(&s->acknowledged), memory_order_relaxed);
    return true;
}

/* Holds the sequencer and finds a slot. Where it is not OK nothing is held. */
static int32_t enter_slot(ss_core *core, uint32_t id, uint32_t ms, ss_slot **s) {
    const int32_t status = ss_core_enter(core, ms);
    if (status != SLIPSTREAM_OK)
        return status;
    *s = ss_slot_find(core, id);
    if (*s != NULL)
        return SLIPSTREAM_OK;
    ss_core_leave(core);
    return SLIPSTREAM_NOT_FOUND;
}

static int32_t leave(ss_core *core, int32_t status) {
    ss_core_leave(core);
    return status;
}

/* ---- Coming ---------------------------------------------------------------------------- */

/* The same for a new slot, which `leave_new` adds. */
static int32_t enter_new(ss_core *core, uint32_t source, uint32_t ms, ss_slot **out) {
    const int32_t status = ss_core_enter(core, ms);
    if (status != SLIPSTREAM_OK)
        return status;
    ss_slot *s = calloc(1, sizeof *s);
    if (s == NULL || core->count == SS_SLOTS_MAX) {
        free(s);
        return leave(core, s == NULL ? SLIPSTREAM_NO_MEMORY : SLIPSTREAM_TOO_LARGE);
    }
    s->delivery.struct_size = sizeof s->delivery;
    s->delivery.attempt = 1;
    s->delivery.count = 1;
    s->dead_letter = -1;
    s->id = core->next_id++;
    s->source = source;
    *out = s;
    return SLIPSTREAM_OK;
}

static int32_t leave_new(ss_core *core, ss_slot *s, uint32_t *id) {
    *id = s->id;
    pthread_mutex_lock(&core->slots_lock);
    core->slots[core->count++] = s;
    pthread_mutex_unlock(&core->slots_lock);
    ss_slots_refresh(core);
    return leave(core, SLIPSTREAM_OK);
}

int32_t ss_core_attach(ss_core *core, ss_instance *instance, uint32_t ms, uint32_t *id) {
    ss_slot *s;
    const int32_t status = enter_new(core, 0, ms, &s);
    if (status != SLIPSTREAM_OK)
        return status;
    if (take_instance(s, instance))
        return leave_new(core, s, id);
    ss_slot_free(s);
    return leave(core, SLIPSTREAM_NO_MEMORY);
}

int32_t ss_core_attach_function(ss_core *core, uint64_t kinds, void *context, uint32_t source,
                                ss_on_broadcast function, uint32_t ms, uint32_t *id) {
    ss_slot *s;
    const int32_t status = enter_new(core, source, ms, &s);
    if (status != SLIPSTREAM_OK)
        return status;
    s->kinds = kinds == 0 ? 0 : kinds | SLIPSTREAM_KIND_BIT(SLIPSTREAM_KIND_GAP);
    s->call = function;
    s->instance = context;
    s->flags = SLIPSTREAM_FLAG_PROMPT; /* it needs the interpreter lock: keep it */
    return leave_new(core, s, id);
}

int32_t ss_core_attach_port(ss_core *core, ss_port *port, uint64_t kinds, uint32_t source,
                            uint32_t ms, uint32_t *id) {
    ss_slot *s;
    const int32_t status = enter_new(core, source, ms, &s);
    if (status != SLIPSTREAM_OK)
        return status;
    s->kinds = kinds;
    s->port = port;
    s->flags = SLIPSTREAM_FLAG_PROMPT; /* putting into a ring is */
    return leave_new(core, s, id);
}

/* ---- Changing -------------------------------------------------------------------------- */

int32_t ss_core_renew_port(ss_core *core, uint32_t id, uint64_t kinds, uint32_t source,
                           const char *const *claims, size_t claim_count, uint32_t ms) {
    ss_slot *s;
    int32_t status = enter_slot(core, id, ms, &s);
    if (status != SLIPSTREAM_OK)
        return status;
    s->kinds = kinds;
    s->source = source;
    ss_slot_drop_claims(s);
    for (size_t i = 0; i < claim_count && status == SLIPSTREAM_OK; i++)
        status = ss_slot_add_claim(s, claims[i]) ? SLIPSTREAM_OK : SLIPSTREAM_NO_MEMORY;
    ss_slots_refresh(core);
    return leave(core, status);
}

static uint64_t acknowledged(const ss_slot *s) {
    if (s->host != NULL && (s->flags & SLIPSTREAM_FLAG_EXPLICIT_ACK) != 0)
        return atomic_load_explicit(&s->host->acked, memory_order_relaxed);
    return ss_counter_read(&s->acknowledged);
}

int32_t ss_core_replace(ss_core *core, uint32_t id, ss_instance *instance, uint32_t ms) {
    ss_slot *s;
    const int32_t status = enter_slot(core, id, ms, &s);
    if (status != SLIPSTREAM_OK)
        return status;
    pthread_mutex_lock(&core->slots_lock); /* ss_core_stats looks into the host */
    ss_counter_set(&s->acknowledged, acknowledged(s));
    const bool taken = take_instance(s, instance);
    pthread_mutex_unlock(&core->slots_lock);
    ss_slots_refresh(core);
    return leave(core, taken ? SLIPSTREAM_OK : SLIPSTREAM_NO_MEMORY);
}

int32_t ss_core_set_state(ss_core *core, uint32_t id, uint32_t state, uint32_t ms) {
    ss_slot *s;
    const int32_t status = enter_slot(core, id, ms, &s);
    if (status != SLIPSTREAM_OK)
        return status;
    atomic_store_explicit(&s->state, state, memory_order_relaxed);
    if (state == SS_SLOT_RUNNING) {
        ss_slot_tell_gap(core, s);
    } else if (state == SS_SLOT_FAILED) {
        s->kinds = 0;
        ss_slots_refresh(core);
    }
    return leave(core, status);
}

int32_t ss_core_set_dead_letter(ss_core *core, uint32_t id, int fd, uint32_t ms) {
    ss_slot *s;
    const int32_t status = enter_slot(core, id, ms, &s);
    if (status != SLIPSTREAM_OK)
        return status;
    s->dead_letter = fd;
    return leave(core, status);
}

int32_t ss_core_claim(ss_core *core, uint32_t id, const char *name, uint32_t ms) {
    ss_slot *s;
    const int32_t status = enter_slot(core, id, ms, &s);
    if (status != SLIPSTREAM_OK)
        return status;
    const bool added = ss_slot_add_claim(s, name);
    ss_slots_refresh(core);
    return leave(core, added ? SLIPSTREAM_OK : SLIPSTREAM_NO_MEMORY);
}

int32_t ss_core_hold(ss_core *core, uint32_t id, uint32_t ms) {
    const int32_t status = ss_core_enter(core, ms);
    if (status == SLIPSTREAM_OK)
        atomic_store_explicit(&core->busy, (int32_t)id, memory_order_relaxed);
    return status;
}

void ss_core_unhold(ss_core *core, bool stuck) {
    ss_slot *s = stuck ? ss_slot_find(core, (uint32_t)ss_core_busy_slot(core)) : NULL;
    if (s != NULL && ss_slot_is_open(s))
        atomic_store_explicit(&s->state, SS_SLOT_PAUSED, memory_order_relaxed);
    atomic_store_explicit(&core->busy, -1, memory_order_relaxed);
    ss_core_leave(core);
}

/* ---- Counters, and going --------------------------------------------------------------- */

static void describe(const ss_slot *s, ss_stats *out) {
    out->state = atomic_load_explicit(&s->state, memory_order_relaxed);
    out->status = atomic_load_explicit(&s->status, memory_order_relaxed);
    out->broadcast = ss_counter_read(&s->broadcast);
    out->delivered = ss_counter_read(&s->delivered);
    out->failed = ss_counter_read(&s->failed);
    out->dropped = ss_counter_read(&s->dropped);
    out->acknowledged = acknowledged(s);
    if (out->broadcast < out->acknowledged) /* written last, once for each piece */
        out->broadcast = out->acknowledged;
    out->samples = ss_counter_read(&s->samples);
    out->total_ns = ss_counter_read(&s->total_ns);
    for (unsigned i = 0; i < SS_TIME_BUCKETS; i++)
        out->buckets[i] = ss_counter_read(&s->buckets[i]);
}

int32_t ss_core_stats(ss_core *core, uint32_t id, ss_stats *out) {
    memset(out, 0, sizeof *out);
    pthread_mutex_lock(&core->slots_lock);
    const ss_slot *s = ss_slot_find(core, id);
    if (s != NULL)
        describe(s, out);
    pthread_mutex_unlock(&core->slots_lock);
    return s == NULL ? SLIPSTREAM_NOT_FOUND : SLIPSTREAM_OK;
}

int32_t ss_core_detach(ss_core *core, uint32_t id, uint32_t ms, ss_stats *last) {
    ss_slot *s;
    const int32_t status = enter_slot(core, id, ms, &s);
    if (status != SLIPSTREAM_OK)
        return status;
    if (s->pending.last != 0)
        ss_logq_format(core->log, SLIPSTREAM_LOG_WARN, s->source,
                       "unloaded before it could be told of %llu events that it missed "
                       "(ordinals %llu to %llu)",
                       (unsigned long long)(s->pending.last - s->pending.first + 1),
                       (unsigned long long)s->pending.first, (unsigned long long)s->pending.last);
    describe(s, last);
    pthread_mutex_lock(&core->slots_lock);
    uint32_t to = 0;
    for (uint32_t i = 0; i < core->count; i++)
        if (core->slots[i] != s)
            core->slots[to++] = core->slots[i];
    core->count = to;
    pthread_mutex_unlock(&core->slots_lock);
    ss_slot_free(s);
    ss_slots_refresh(core);
    return leave(core, status);
}
