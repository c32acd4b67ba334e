#include "consumer/thread.h"

#include "consumer/consume.h"
#include "consumer/watch.h"
#include "ring/refusals.h"

#include <stdlib.h>

struct ss_thread {
    ss_consumer consumer;
    ss_watched watched;
    ss_queue *queue;
    ss_log_queue *log;
    uint32_t log_id;
    ss_refusals refusals;
    _Atomic uint32_t state;
    _Atomic int32_t status;
};

static void refused(void *context, const ss_letter *letter, uint32_t number) {
    ss_thread *self = context;
    ss_refusals_add(&self->refusals, letter, number);
}

static void keep(void *context) {
    ss_thread *self = context;
    ss_refusals_keep(&self->refusals);
}

/* The consumer has stopped. False if it is to go on: somebody has thought better of it, be
 * it only to stop it again, at another boundary. */
static bool has_ended(ss_thread *self) {
    ss_lock_take(&self->queue->lock);
    const uint32_t wanted = atomic_load(&ss_ring_get_head(self->queue->ring)->stop_wanted);
    const bool ended = wanted != 0 && wanted == self->consumer.stopped_for;
    if (ended)
        atomic_store(&self->state, SS_THREAD_ENDED);
    else
        ss_ring_prepare_resume(self->queue->ring);
    ss_lock_release(&self->queue->lock);
    return ended;
}

static void consume(void *context) {
    ss_thread *self = context;
    uint32_t reason;
    do {
        ss_watched_add(&self->watched);
        reason = ss_consume(&self->consumer);
        ss_watched_remove(&self->watched); /* whoever hears that it has ended may free it */
    } while (reason == SS_CONSUMED_BOUNDARY && !has_ended(self));
    if (reason == SS_CONSUMED_BOUNDARY)
        return;
    int32_t status = SLIPSTREAM_FAILED;
    if (reason == SS_CONSUMED_FATAL) {
        status = SLIPSTREAM_FATAL;
    } else if (reason == SS_CONSUMED_PANIC) {
        status = SLIPSTREAM_PANIC; /* and the instance has ended: see ss_consume */
    }
    ss_queue_hold_nobody(self->queue, SLIPSTREAM_GAP_PAUSED);
    atomic_store(&self->status, status);
    atomic_store(&self->state, SS_THREAD_FAILED);
}

ss_thread *ss_thread_start(ss_instance *instance, ss_queue *queue, ss_log_queue *log,
                           ss_letters *letters, const ss_thread_options *options) {
    ss_thread *self = calloc(1, sizeof *self);
    ss_instance_info info;
    if (self == NULL)
        return NULL;
    ss_instance_describe(instance, &info);
    self->queue = queue;
    self->log = log;
    self->log_id = options->log_id;
    self->refusals = (ss_refusals){.queue = queue, .letters = letters};
    ss_control *control = ss_control_new(NULL);
    if (control == NULL) {
        free(self);
        return NULL;
    }
    ss_lock_take(&queue->lock);
    ss_queue_clear_stop(queue);
    ss_queue_attach_control(queue, control);
    ss_ring_prepare_resume(queue->ring);
    self->consumer = (ss_consumer){.view = ss_ring_view(queue->ring),
                                   .table = ss_instance_table(instance),
                                   .host = ss_instance_host(instance),
                                   .kinds = info.kinds,
                                   .flush_idle_ms = options->flush_idle_ms,
                                   .flush_timeout_ms = options->callback_timeout_ms != 0
                                                           ? options->callback_timeout_ms
                                                           : SLIPSTREAM_NO_TIMEOUT,
                                   .retry = {options->retry_initial_ms, options->retry_max_ms,
                                             options->retry_max_time_ms},
                                   .refused = refused,
                                   .keep = keep,
                                   .context = self};
    self->watched = (ss_watched){.control = control,
                                 .key = ss_ring_get_head(queue->ring)->key,
                                 .log = log,
                                 .log_id = options->log_id,
                                 .limit_ms = options->callback_timeout_ms};
    ss_lock_release(&queue->lock);
    if (ss_instance_call(instance, consume, self) != SLIPSTREAM_OK) {
        free(self);
        return NULL;
    }
    ss_queue_hold_nobody(queue, 0);
    return self;
}

void ss_thread_stop(ss_thread *self) {
    ss_queue *queue = self->queue;
    ss_lock_take(&queue->lock);
    const ss_ring_head *head = ss_ring_get_head(queue->ring);
    ss_ring_tell_lost(queue->ring);
    if (atomic_load(&head->stop_wanted) == 0 || atomic_load(&head->is_stopping) != 0)
        ss_queue_want_stop(queue, ss_ring_last(queue->ring), false);
    else
        ss_queue_rouse(queue);
    ss_lock_release(&queue->lock);
}

void ss_thread_hurry(ss_thread *self) {
    ss_lock_take(&self->queue->lock);
    ss_queue_want_stop(self->queue, 0, true);
    ss_lock_release(&self->queue->lock);
}

bool ss_thread_go_on(ss_thread *self) {
    ss_lock_take(&self->queue->lock);
    const bool ended = atomic_load(&self->state) != SS_THREAD_RUNNING;
    if (!ended)
        ss_queue_clear_stop(self->queue);
    ss_lock_release(&self->queue->lock);
    return !ended;
}

uint32_t ss_thread_state(const ss_thread *self, int32_t *status) {
    *status = atomic_load(&self->status);
    return atomic_load(&self->state);
}

uint64_t ss_thread_late_ns(ss_thread *self) {
    return ss_watched_late_ns(&self->watched);
}

void ss_thread_free(ss_thread *self) {
    ss_consumer_disconnect(&self->consumer);
    free(self);
}
