#include "plugin/host_settle.h"

#include "base/text.h"
#include "plugin/host.h"

#include <stdlib.h>
#include <string.h>

void ss_rejection_free(ss_rejection *rejection) {
    free(rejection->text);
    rejection->text = NULL;
}

static bool settles(int32_t status) {
    switch (status) {
    case SLIPSTREAM_OK:
    case SLIPSTREAM_END:
    case SLIPSTREAM_IGNORED:
    case SLIPSTREAM_RETRY:
    case SLIPSTREAM_NO_MEMORY:
    case SLIPSTREAM_TIMEOUT:
    case SLIPSTREAM_FATAL:
    case SLIPSTREAM_PANIC:
        return false;
    default:
        return true;
    }
}

/* The lock is held. The first of them with this ordinal or a higher one; most come in order. */
static size_t place_of(const ss_host_settle *settle, uint64_t ordinal) {
    size_t at = settle->count;
    while (at > 0 && settle->rejections[at - 1].ordinal >= ordinal)
        at--;
    return at;
}

/* The lock is held. Takes the text over if it is OK. */
static int32_t keep(ss_host_settle *settle, ss_rejection *rejection) {
    const size_t at = place_of(settle, rejection->ordinal);
    if (at < settle->count && settle->rejections[at].ordinal == rejection->ordinal) {
        ss_rejection_free(rejection);
        return SLIPSTREAM_OK;
    }
    if (settle->count == settle->room) {
        const size_t room = settle->room == 0 ? 16 : 2 * settle->room;
        ss_rejection *more = realloc(settle->rejections, room * sizeof *more);
        if (more == NULL)
            return SLIPSTREAM_NO_MEMORY;
        settle->rejections = more;
        settle->room = room;
    }
    ss_rejection *place = settle->rejections + at;
    memmove(place + 1, place, (settle->count - at) * sizeof *place);
    *place = *rejection;
    settle->count++;
    if (settle->noticed != NULL)
        *settle->noticed = true;
    return SLIPSTREAM_OK;
}

/* Is it in the run that this thread is called for? */
static bool is_in_run(const ss_host *host, uint64_t ordinal) {
    const ss_host_settle *settle = &host->settle;
    const slipstream_delivery *run = settle->delivery;
    return run != NULL && !settle->is_off &&
           atomic_load_explicit(&host->caller, memory_order_relaxed) == ss_os_self() &&
           ordinal >= run->first_ordinal && ordinal - run->first_ordinal < run->count &&
           ordinal > atomic_load_explicit(&host->acked, memory_order_relaxed);
}

static bool is_unacked(const ss_host *host, uint64_t ordinal) {
    return ordinal <= atomic_load_explicit(&host->delivered, memory_order_acquire) &&
           ordinal > atomic_load_explicit(&host->acked, memory_order_relaxed);
}

static uint32_t judge(ss_host *host, uint64_t ordinal) {
    ss_host_settle *settle = &host->settle;
    if (settle->judge != NULL)
        return (uint32_t)settle->judge(settle->context, ordinal);
    if (settle->until_acked ? is_unacked(host, ordinal) : is_in_run(host, ordinal))
        return SS_JUDGED_RUNNING;
    return SS_JUDGED_UNKNOWN;
}

static int32_t reject(void *ctx, uint64_t ordinal, int32_t status, const char *text, size_t len) {
    ss_host *host = ctx;
    ss_host_settle *settle = &host->settle;
    ss_rejection rejection = {ordinal, status, 0, NULL};
    if (atomic_load_explicit(&host->life, memory_order_acquire) != SS_LOADED ||
        !ss_os_is_process(host->process))
        return SLIPSTREAM_WRONG_STATE;
    if (!settles(status))
        return SLIPSTREAM_INVALID_ARGUMENT;
    if (text == NULL && len > 0) {
        ss_log_queue_format(host->log, SLIPSTREAM_LOG_PLUGIN_MISBEHAVING, host->log_id,
                            "reject called with a text that is NULL");
        len = 0;
    }
    const size_t room = len < SLIPSTREAM_ERROR_MAX ? len : SLIPSTREAM_ERROR_MAX;
    rejection.text = malloc(room + 1);
    if (rejection.text == NULL)
        return SLIPSTREAM_NO_MEMORY;
    if (room > 0)
        rejection.len = (uint32_t)ss_text_keep(rejection.text, room, text, len);
    ss_lock_take(&settle->lock);
    const uint32_t known = judge(host, ordinal);
    int32_t answer = SLIPSTREAM_OK;
    if (known == SS_JUDGED_RUNNING)
        answer = keep(settle, &rejection);
    else if (known == SS_JUDGED_UNKNOWN)
        answer = SLIPSTREAM_INVALID_ARGUMENT;
    void (*late)(void *, const ss_rejection *) = settle->late;
    void *context = settle->context;
    if (known == SS_JUDGED_DONE)
        late(context, &rejection);
    ss_lock_release(&settle->lock);
    if (answer == SLIPSTREAM_INVALID_ARGUMENT)
        ss_log_queue_format(host->log, SLIPSTREAM_LOG_PLUGIN_MISBEHAVING, host->log_id,
                            "reject of ordinal %llu, which is not in the run, or is acknowledged",
                            (unsigned long long)ordinal);
    if (answer != SLIPSTREAM_OK || known == SS_JUDGED_DONE)
        ss_rejection_free(&rejection);
    return answer;
}

void ss_host_settle_begin(ss_host_settle *settle, const slipstream_delivery *delivery,
                          uint32_t flags) {
    ss_lock_take(&settle->lock); /* any thread may reject meanwhile */
    settle->delivery = delivery;
    settle->until_acked = (flags & SLIPSTREAM_FLAG_EXPLICIT_ACK) != 0;
    ss_lock_release(&settle->lock);
}

size_t ss_host_take_rejections(ss_host_settle *settle, ss_rejection **out) {
    ss_lock_take(&settle->lock);
    const size_t count = settle->count;
    *out = settle->rejections;
    settle->rejections = NULL;
    settle->count = settle->room = 0;
    ss_lock_release(&settle->lock);
    return count;
}

void ss_host_forget_rejections(ss_host_settle *settle, uint64_t from) {
    ss_lock_take(&settle->lock);
    while (settle->count > 0 && settle->rejections[settle->count - 1].ordinal >= from)
        ss_rejection_free(&settle->rejections[--settle->count]);
    ss_lock_release(&settle->lock);
}

void ss_host_settle_free(ss_host_settle *settle) {
    ss_host_forget_rejections(settle, 0);
    free(settle->rejections);
    settle->rejections = NULL;
}

const slipstream_settle_v1 ss_host_settle_table = {
    sizeof ss_host_settle_table,
    0,
    reject,
};
