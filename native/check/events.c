#include "check/events.h"

#include "check/guest.h"
#include "check/memory.h"
#include "check/mutate.h"
#include "check/notes.h"
#include "check/threads.h"

#include <stdlib.h>
#include <string.h>

enum {
    RETRIES = 200,
    RETRY_PAUSE_MS = 10,
    TOLD = 20, /* failures of one step that are told one by one */
    UNKNOWN_FLAG = 1U << 20,
};

typedef struct delivering {
    const ss_play_step *step;
    const uint8_t *frames;
    size_t len;
    ss_guest *guest;
    uint64_t failures;
} delivering;

static bool is_refused(int32_t status) {
    return status != SLIPSTREAM_OK && status != SLIPSTREAM_IGNORED;
}

static bool comes_again(int32_t status) {
    return status == SLIPSTREAM_RETRY || status == SLIPSTREAM_NO_MEMORY ||
           status == SLIPSTREAM_TIMEOUT;
}

void ss_events_rejected(ss_guest *guest, int32_t status, uint64_t first) {
    ss_rejection *rejections;
    const size_t count = ss_host_take_rejections(&guest->host.settle, &rejections);
    for (size_t i = 0; i < count; i++) {
        if (status == SLIPSTREAM_OK || rejections[i].ordinal < first)
            ss_note(SS_PLAYED_REJECTED, rejections[i].status, rejections[i].ordinal, 0,
                    rejections[i].text, rejections[i].len);
        ss_rejection_free(&rejections[i]);
    }
    free(rejections);
}

/* What later minors may make of a delivery. */
typedef struct later_delivery {
    slipstream_delivery known;
    uint64_t later[4];
} later_delivery;

static int32_t call(ss_guest *guest, uint32_t place, const slipstream_delivery *delivery,
                    const uint8_t *frames, size_t len) {
    const slipstream_plugin *plugin = &guest->plugin.plugin;
    later_delivery later = {*delivery, {0}};
    ss_play_trace *trace = ss_trace();
    ss_placed placed = {0};
    const slipstream_delivery *given = &later.known;
    if ((place & SS_PLAY_PLACE_FLAGS) != 0) {
        later.known.struct_size = sizeof later;
        later.known.flags = UNKNOWN_FLAG;
    }
    if ((place & SS_PLAY_PLACE_DELIVERY) != 0) {
        placed = ss_place(&later, delivery->struct_size, place & ~(uint32_t)SS_PLAY_PLACE_DELIVERY);
        given = (const slipstream_delivery *)(const void *)placed.data;
        trace->table = (uint64_t)(uintptr_t)given;
        trace->table_len = placed.len;
    }
    ss_host_enter(&guest->host, ss_os_self());
    ss_host_settle_begin(&guest->host.settle, &later.known, plugin->flags);
    ss_call_begins();
    const int32_t status = plugin->on_broadcast(plugin->instance, given, frames, len);
    ss_call_ends();
    guest->host.settle.delivery = NULL;
    ss_host_leave(&guest->host);
    if ((place & SS_PLAY_PLACE_DELIVERY) != 0)
        ss_place_leave(&placed);
    ss_events_rejected(guest, status, delivery->first_ordinal);
    return status;
}

int32_t ss_events_call(ss_guest *guest, const slipstream_delivery *delivery, const uint8_t *frames,
                       size_t len) {
    return call(guest, 0, delivery, frames, len);
}

/* So many; who wanted one event for ever will want the next, too. */
static int retries = RETRIES;

/* As a host offers it: again, after a pause, where it did not work now. */
static int32_t offer(ss_guest *guest, uint32_t place, slipstream_delivery *delivery,
                     const uint8_t *frames, size_t len) {
    const uint64_t last = delivery->first_ordinal + delivery->count - 1;
    if (last > atomic_load_explicit(&guest->host.delivered, memory_order_relaxed))
        atomic_store_explicit(&guest->host.delivered, last, memory_order_release);
    int32_t status = call(guest, place, delivery, frames, len);
    for (int i = 0; comes_again(status) && i < retries; i++) {
        ss_os_sleep_ns((uint64_t)RETRY_PAUSE_MS * 1000000);
        delivery->attempt++;
        status = call(guest, place, delivery, frames, len);
        retries = comes_again(status) && i + 1 == RETRIES ? 0 : retries;
    }
    return status;
}

static void answered(delivering *it, int32_t status, uint64_t ns, uint64_t time, uint64_t times) {
    const ss_host *host = &it->guest->host;
    const bool is_failure = is_refused(status);
    it->failures += is_failure;
    if (times == 1 || (is_failure && it->failures <= TOLD))
        ss_note(SS_PLAYED_CALL, status, ns, time, host->error, host->error_len);
    if (status > 0 && status != SLIPSTREAM_IGNORED)
        ss_host_judge_status(&it->guest->host, "on_broadcast", status);
}

static void deliver(void *argument) {
    delivering *it = argument;
    const ss_play_step *step = it->step;
    const uint64_t times = step->d >> 32 != 0 ? step->d >> 32 : 1;
    const bool is_delivery = (step->b & SS_PLAY_PLACE_DELIVERY) != 0;
    ss_play_trace *trace = ss_trace();
    ss_placed placed = ss_place(it->frames, it->len, is_delivery ? 0 : step->b);
    trace->start = (uint64_t)(uintptr_t)placed.data;
    trace->len = placed.len;
    trace->gone = 0;
    for (uint64_t time = 0; time < times; time++) {
        slipstream_delivery delivery = {sizeof delivery, (uint32_t)step->d, step->a, 0,
                                        step->c + time * step->a};
        trace->time = time;
        const uint64_t began = ss_os_now_ns();
        const int32_t status = offer(it->guest, step->b, &delivery, placed.data, placed.len);
        answered(it, status, ss_os_now_ns() - began, time, times);
        if (status == SLIPSTREAM_FATAL || status == SLIPSTREAM_PANIC || comes_again(status))
            break;
    }
    ss_place_leave(&placed);
    if (times > 1)
        ss_note(SS_PLAYED_VALUE, SLIPSTREAM_OK, times, it->failures, NULL, 0);
}

bool ss_events_may_come(uint32_t slot) {
    const ss_guest *guest = ss_guest_in(slot);
    if (guest != NULL && guest->given != NULL && guest->plugin.plugin.on_broadcast != NULL &&
        atomic_load(&guest->host.life) == SS_LOADED)
        return true;
    ss_note_text(SS_PLAYED_UNPLAYED, 0, "it is not loaded, or has no on_broadcast");
    return false;
}

static bool prepare(const ss_play_step *step, const void *data, delivering *out) {
    *out = (delivering){step, data, step->len, ss_guest_in(step->slot), 0};
    return ss_events_may_come(step->slot);
}

void ss_events_deliver(const ss_play_step *step, const void *data) {
    delivering it;
    if (prepare(step, data, &it))
        ss_threads_run(deliver, &it);
}

/* ---- Changed ones ---------------------------------------------------------------------------- */

static void mutate(void *argument) {
    delivering *it = argument;
    const ss_play_step *step = it->step;
    ss_play_trace *trace = ss_trace();
    uint64_t refused = 0;
    uint32_t tried = 0;
    if (it->len > SS_PLAY_INPUT)
        ss_note_text(SS_PLAYED_UNPLAYED, 0, "the event is too large to be changed");
    for (uint32_t i = 0; i < step->b && it->len <= SS_PLAY_INPUT; i++) {
        slipstream_delivery delivery = {sizeof delivery, 1, 1, 0, step->a + i};
        ss_dice dice = ss_dice_of(step->c, step->a + i);
        memcpy(trace->input, it->frames, it->len);
        ss_mutate(trace->input, it->len, &dice);
        trace->input_len = (uint32_t)it->len;
        trace->time = step->a + i;
        ss_placed placed = ss_place(trace->input, it->len, SS_PLAY_PLACE_END);
        trace->start = (uint64_t)(uintptr_t)placed.data;
        trace->len = placed.len;
        atomic_store_explicit(&it->guest->host.delivered, delivery.first_ordinal,
                              memory_order_release);
        const int32_t status = call(it->guest, 0, &delivery, placed.data, placed.len);
        ss_place_leave(&placed);
        refused += is_refused(status);
        tried++;
        if (status == SLIPSTREAM_FATAL || status == SLIPSTREAM_PANIC)
            break; /* an end of its own choice */
    }
    ss_note(SS_PLAYED_VALUE, SLIPSTREAM_OK, tried, refused, NULL, 0);
}

void ss_events_mutate(const ss_play_step *step, const void *data) {
    delivering it;
    if (prepare(step, data, &it))
        ss_threads_run(mutate, &it);
}

/* ---- Several at once -------------------------------------------------------------------------- */

static void race(void *argument, uint32_t number) {
    delivering *it = argument;
    const ss_play_step *step = it->step;
    const slipstream_plugin *plugin = &it->guest->plugin.plugin;
    uint64_t failures = 0;
    for (uint64_t time = 0; time < step->d; time++) {
        const slipstream_delivery delivery = {sizeof delivery, 1, 1, 0,
                                              step->c + time * step->a + number};
        ss_call_begins();
        failures += is_refused(
            plugin->on_broadcast(plugin->instance, &delivery, it->frames, it->len));
        ss_call_ends();
    }
    __atomic_add_fetch(&it->failures, failures, __ATOMIC_RELAXED);
}

void ss_events_concurrent(const ss_play_step *step, const void *data) {
    delivering it;
    if (!prepare(step, data, &it))
        return;
    ss_placed placed = ss_place(data, step->len, 0);
    it.frames = placed.data;
    atomic_store_explicit(&it.guest->host.delivered, step->c + step->a * step->d,
                          memory_order_release);
    ss_threads_race(step->a, race, &it);
    ss_note(SS_PLAYED_VALUE, SLIPSTREAM_OK, step->a * step->d, it.failures, NULL, 0);
}
