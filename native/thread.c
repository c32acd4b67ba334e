#include "thread.h"

#include "consume.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

struct ss_thread {
    ss_consumer consumer;
    ss_port *port;
    ss_logq *log;
    uint32_t source;
    int dead_letter;
    _Atomic uint32_t state;
    _Atomic int32_t status;
};

static void event_failed(void *context, int32_t status, uint64_t ordinal, const uint8_t *frame,
                         size_t len) {
    const ss_thread *self = context;
    size_t done = 0;
    (void)status;
    (void)ordinal;
    while (self->dead_letter >= 0 && done < len) {
        const ssize_t n = write(self->dead_letter, frame + done, len - done);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0) {
            ss_logq_format(self->log, SLIPSTREAM_LOG_ERROR, self->source,
                           "cannot write to the dead-letter file; the event is lost");
            return;
        }
        done += (size_t)n;
    }
}

static void consume(void *context) {
    ss_thread *self = context;
    const uint32_t reason = ss_consume(&self->consumer);
    uint32_t state = SS_THREAD_FAILED;
    int32_t status = SLIPSTREAM_FAILED;
    if (reason == SS_CONSUMED_BOUNDARY) {
        state = SS_THREAD_ENDED;
        status = SLIPSTREAM_OK;
    } else if (reason == SS_CONSUMED_FATAL) {
        status = SLIPSTREAM_FATAL;
    } else if (reason == SS_CONSUMED_PANIC) {
        status = SLIPSTREAM_PANIC;
        atomic_store(&self->consumer.host->life, SS_UNLOADED); /* only destroy may follow */
    }
    if (state == SS_THREAD_FAILED)
        ss_port_hold_nobody(self->port, true);
    atomic_store(&self->status, status);
    atomic_store(&self->state, state);
}

ss_thread *ss_thread_start(ss_instance *instance, ss_port *port, ss_logq *log, uint32_t source,
                           int dead_letter, uint32_t flush_idle_ms, uint32_t max_attempts) {
    ss_thread *self = calloc(1, sizeof *self);
    ss_instance_info info;
    if (self == NULL)
        return NULL;
    ss_instance_describe(instance, &info);
    self->port = port;
    self->log = log;
    self->source = source;
    self->dead_letter = dead_letter;
    ss_lock_wait(&port->lock, 1000);
    ss_ring_head *head = ss_ring_get_head(port->ring);
    atomic_store(&head->stop_wanted, 0);
    atomic_store(&head->is_stopping, 0);
    ss_control *control = ss_control_new(NULL);
    if (control != NULL) {
        ss_port_attach_control(port, control);
        ss_ring_prepare_resume(port->ring);
    }
    self->consumer = (ss_consumer){.view = ss_ring_view(port->ring),
                                   .table = ss_instance_table(instance),
                                   .host = ss_instance_host(instance),
                                   .kinds = info.kinds,
                                   .flush_idle_ms = flush_idle_ms,
                                   .flush_timeout_ms = 60000,
                                   .max_attempts = max_attempts,
                                   .retry_delay_ms = 10,
                                   .failed = event_failed,
                                   .context = self};
    ss_lock_release(&port->lock);
    if (control == NULL || ss_instance_call(instance, consume, self) != SLIPSTREAM_OK) {
        free(self);
        return NULL;
    }
    return self;
}

void ss_thread_stop(ss_thread *self) {
    ss_lock_wait(&self->port->lock, 1000);
    ss_ring_head *head = ss_ring_get_head(self->port->ring);
    ss_ring_tell_lost(self->port->ring);
    atomic_store(&head->boundary, ss_ring_last(self->port->ring));
    atomic_store(&head->paused, 0);
    atomic_store(&head->stop_wanted, 1);
    atomic_fetch_add(&head->wake, 1);
    ss_ring_wake(self->port->ring);
    ss_lock_release(&self->port->lock);
}

uint32_t ss_thread_state(const ss_thread *self, int32_t *status) {
    *status = atomic_load(&self->status);
    return atomic_load(&self->state);
}

uint64_t ss_thread_call(const ss_thread *self) {
    const ss_control *control = self->consumer.view.control;
    if (atomic_load(&control->run.value) == 0)
        return 0;
    return atomic_load(&control->started.value);
}

void ss_thread_free(ss_thread *self) {
    free(self);
}
