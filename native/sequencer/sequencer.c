/* sequencer: its life, and who holds it. */
#include "sequencer/types.h"

#include <stdlib.h>

enum {
    SCRATCH_KEPT = 1024 * 1024, /* a larger scratch buffer is given back */
    SEND_WAIT_MS = 30000,
};

/* ---- Who holds it ---------------------------------------------------------------------- */

bool ss_sequencer_is_open(const ss_sequencer *sequencer) {
    /* Pairs with the release in ss_sequencer_close. */
    return atomic_load_explicit(&sequencer->closed, memory_order_acquire) == 0 &&
           ss_os_is_process(sequencer->process);
}

bool ss_sequencer_inside(const ss_sequencer *sequencer) {
    return ss_lock_is_mine(&sequencer->lock);
}

bool ss_sequencer_try_enter(ss_sequencer *sequencer) {
    return ss_lock_try(&sequencer->lock);
}

int32_t ss_sequencer_enter(ss_sequencer *sequencer, uint32_t ms) {
    if (!ss_sequencer_is_open(sequencer) || ss_sequencer_inside(sequencer))
        return SLIPSTREAM_WRONG_STATE;
    if (!ss_lock_wait(&sequencer->lock, ms))
        return SLIPSTREAM_TIMEOUT;
    ss_sequencer_may_wait(sequencer, NULL); /* whoever waits for it holds no other lock */
    if (ss_sequencer_is_open(sequencer))
        return SLIPSTREAM_OK;
    ss_lock_release(&sequencer->lock);
    return SLIPSTREAM_WRONG_STATE;
}

bool ss_sequencer_has_more(const ss_sequencer *sequencer) {
    return sequencer->waiting > 0 || sequencer->deferred.len > 0;
}

void ss_sequencer_may_wait(ss_sequencer *sequencer, bool (*interrupted)(void)) {
    sequencer->may_wait = true;
    sequencer->hurry = false;
    sequencer->interrupted = interrupted;
}

/* What is left to do, which mostly is nothing. */
static __attribute__((noinline)) int32_t finish(ss_sequencer *sequencer) {
    if (sequencer->waiting > 0)
        ss_sequencer_wait_for_room(sequencer);
    if (sequencer->deferred.len > 0)
        ss_sequencer_send_deferred(sequencer);
    int32_t status = SLIPSTREAM_OK;
    if (sequencer->too_large > 0)
        status = ss_os_is_process(sequencer->process) ? SLIPSTREAM_TOO_LARGE
                                                      : SLIPSTREAM_WRONG_STATE;
    sequencer->too_large = 0;
    if (sequencer->scratch.room > SCRATCH_KEPT) {
        free(sequencer->scratch.data);
        sequencer->scratch = (ss_buffer){0};
    }
    return status;
}

int32_t ss_sequencer_leave(ss_sequencer *sequencer) {
    const bool is_done = !ss_sequencer_has_more(sequencer) && sequencer->too_large == 0 &&
                         sequencer->scratch.room <= SCRATCH_KEPT;
    const int32_t status = __builtin_expect(is_done, 1) ? SLIPSTREAM_OK : finish(sequencer);
    sequencer->may_wait = false;
    ss_lock_release(&sequencer->lock);
    return status;
}

/* ---- Calls from outside ---------------------------------------------------------------- */

int32_t ss_sequencer_send(ss_sequencer *sequencer, const uint8_t *frames, size_t len,
                          ss_sent *sent) {
    int32_t status = ss_sequencer_enter(sequencer, SEND_WAIT_MS);
    if (status != SLIPSTREAM_OK)
        return status;
    status = ss_sequencer_put_frames(sequencer, frames, len, sent);
    const int32_t left = ss_sequencer_leave(sequencer);
    return status != SLIPSTREAM_OK ? status : left;
}

int32_t ss_sequencer_mapping_update(ss_sequencer *sequencer, const uint8_t *program_id,
                                    size_t program_id_len, const uint8_t *mapping_name,
                                    size_t mapping_name_len, const uint8_t *key, size_t key_len,
                                    const uint8_t *value, size_t value_len, uint64_t height) {
    ss_draft draft = {.kind = SLIPSTREAM_KIND_MAPPING_UPDATE,
                      .height = height,
                      .spans = {{program_id, program_id_len},
                                {mapping_name, mapping_name_len},
                                {key, key_len},
                                {value, value_len}}};
    int32_t status = ss_sequencer_enter(sequencer, SEND_WAIT_MS);
    if (status != SLIPSTREAM_OK)
        return status;
    status = ss_sequencer_put_draft(sequencer, &draft);
    const int32_t left = ss_sequencer_leave(sequencer);
    return status != SLIPSTREAM_OK ? status : left;
}

/* ---- Life ------------------------------------------------------------------------------ */

ss_sequencer *ss_sequencer_new(ss_log_queue *log, uint64_t stream) {
    ss_sequencer *sequencer = calloc(1, sizeof *sequencer);
    if (sequencer == NULL)
        return NULL;
    ss_ticks_start();
    ss_log_queue_retain(log);
    sequencer->log = log;
    sequencer->stream = stream;
    sequencer->process = ss_os_process();
    sequencer->references = 1;
    sequencer->busy = -1;
    ss_os_mutex_init(&sequencer->slots_lock);
    return sequencer;
}

void ss_sequencer_retain(ss_sequencer *sequencer) {
    atomic_fetch_add_explicit(&sequencer->references, 1, memory_order_relaxed);
}

void ss_sequencer_release(ss_sequencer *sequencer) {
    if (atomic_fetch_sub_explicit(&sequencer->references, 1, memory_order_acq_rel) != 1)
        return;
    if (!ss_os_is_process(sequencer->process))
        return; /* its threads are our parent's, and what they hold */
    ss_waker_stop(&sequencer->waker);
    for (uint32_t i = 0; i < sequencer->count; i++)
        ss_slot_free(sequencer->slots[i]);
    ss_os_mutex_destroy(&sequencer->slots_lock);
    ss_log_queue_release(sequencer->log);
    free(sequencer->scratch.data);
    free(sequencer->deferred.data);
    free(sequencer);
}

int32_t ss_sequencer_close(ss_sequencer *sequencer, uint32_t ms) {
    const int32_t status = ss_sequencer_enter(sequencer, ms);
    if (status != SLIPSTREAM_OK)
        return status;
    /* Pairs with the acquire in ss_sequencer_is_open. */
    atomic_store_explicit(&sequencer->closed, 1, memory_order_release);
    atomic_store_explicit(&sequencer->kinds, 0, memory_order_relaxed);
    ss_sequencer_leave(sequencer);
    ss_waker_stop(&sequencer->waker);
    return SLIPSTREAM_OK;
}
