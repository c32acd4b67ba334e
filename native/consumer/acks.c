#include "consumer/acks.h"

#include "plugin/status.h"

enum {
    FLUSH_AGAIN_MS = 1000, /* after one that failed, where no flush_idle says when */
    WHEN_IDLE = 1,         /* as idle_flush_ns: counted from when nothing is left to do */
    KEPT_NAP_NS = 200 * 1000,
};

/* ---- Acknowledging --------------------------------------------------------------------- */

/* The host's ack_lock is held: value and check are written by one at a time. */
static void on_ack(void *context, uint64_t ordinal) {
    ss_consumer *consumer = context;
    if (ordinal > atomic_load_explicit(&consumer->acked, memory_order_relaxed))
        atomic_store(&consumer->acked, ordinal);
    const uint64_t acked = atomic_load(&consumer->acked);
    const uint64_t done = atomic_load(&consumer->done);
    uint64_t told = acked < done ? acked : done;
    for (uint32_t i = consumer->kept_count; i != consumer->refused_count; i++)
        if (consumer->refusals[i % SS_REFUSALS_MAX] <= told)
            told = consumer->refusals[i % SS_REFUSALS_MAX] - 1;
    if (told <= consumer->told)
        return;
    ss_tell(&consumer->view.control->acked, consumer->view.head->key, SS_PLACE_ACKED, told);
    consumer->told = told;
}

uint32_t ss_consumer_hear(ss_consumer *consumer) {
    ss_lock_take(&consumer->host->ack_lock);
    /* Pairs with the release in keep (refusals.c). */
    const uint32_t kept =
        atomic_load_explicit(&consumer->view.head->kept, memory_order_acquire) -
        consumer->kept_base;
    if (kept != consumer->kept_count && kept - consumer->kept_count <=
                                            consumer->refused_count - consumer->kept_count) {
        consumer->kept_count = kept;
        on_ack(consumer, 0);
    }
    const uint32_t left = consumer->refused_count - consumer->kept_count;
    ss_lock_release(&consumer->host->ack_lock);
    return left;
}

/* Until at most `left` refusals wait to be kept. The host sees to that without the plugin. */
static void wait_until_kept(ss_consumer *consumer, uint32_t left) {
    while (ss_consumer_hear(consumer) > left) {
        if (consumer->keep != NULL)
            consumer->keep(consumer->context);
        else
            ss_os_sleep_ns(KEPT_NAP_NS);
    }
}

void ss_consumer_refuse(ss_consumer *consumer, const ss_letter *letter) {
    ss_lock_take(&consumer->refuse_lock);
    wait_until_kept(consumer, SS_REFUSALS_MAX - 1);
    ss_lock_take(&consumer->host->ack_lock);
    consumer->refusals[consumer->refused_count++ % SS_REFUSALS_MAX] = letter->ordinal;
    const uint32_t number = consumer->kept_base + consumer->refused_count;
    ss_lock_release(&consumer->host->ack_lock);
    consumer->refused(consumer->context, letter, number);
    ss_lock_release(&consumer->refuse_lock);
}

void ss_consumer_raise_acked(ss_consumer *consumer, uint64_t ordinal) {
    ss_lock_take(&consumer->host->ack_lock);
    on_ack(consumer, ordinal);
    ss_lock_release(&consumer->host->ack_lock);
}

static void connect(ss_consumer *consumer) {
    ss_host *host = consumer->host;
    const uint64_t start = consumer->view.head->resume_after;
    ss_lock_take(&host->ack_lock);
    atomic_store_explicit(&consumer->acked, start, memory_order_release);
    atomic_store_explicit(&consumer->done, start, memory_order_release);
    consumer->told = start;
    consumer->refused_count = consumer->kept_count = 0;
    consumer->kept_base = atomic_load(&consumer->view.head->kept);
    atomic_store_explicit(&host->delivered, start, memory_order_release);
    atomic_store_explicit(&host->ring_stopping, &consumer->view.head->is_stopping,
                          memory_order_release);
    host->ack_context = consumer;
    host->on_ack = on_ack;
    ss_lock_release(&host->ack_lock);
}

void ss_consumer_disconnect(ss_consumer *consumer) {
    ss_host *host = consumer->host;
    ss_lock_take(&host->ack_lock);
    if (host->ack_context == consumer) {
        atomic_store_explicit(&host->ring_stopping, NULL, memory_order_release);
        host->on_ack = NULL;
        host->ack_context = NULL;
    }
    ss_lock_release(&host->ack_lock);
}

static int32_t judge(void *context, uint64_t ordinal) {
    ss_consumer *consumer = context;
    const uint64_t done = atomic_load(&consumer->done);
    const uint64_t delivered =
        atomic_load_explicit(&consumer->host->delivered, memory_order_acquire);
    if (ordinal > delivered || ordinal <= atomic_load(&consumer->acked))
        return SS_JUDGED_UNKNOWN;
    return ordinal > done ? SS_JUDGED_RUNNING : SS_JUDGED_DONE;
}

/* An event that the plugin had taken, and waits with its acknowledgement. */
static void refuse_late(void *context, const ss_rejection *rejection) {
    ss_consumer *consumer = context;
    ss_host_log_rejection(consumer->host->log, consumer->host->log_id, rejection);
    ss_consumer_refuse(consumer, &(ss_letter){rejection->ordinal, rejection->status, 1,
                                              rejection->text, rejection->len, NULL, 0});
    if (consumer->keep != NULL) /* the consumer may sleep, or be in a call */
        consumer->keep(consumer->context);
}

void ss_acks_start(ss_acks *acks, ss_consumer *consumer, const slipstream_delivery *delivery) {
    const ss_ring_head *head = consumer->view.head;
    ss_control *control = consumer->view.control;
    *acks = (ss_acks){
        .consumer = consumer,
        .control = control,
        .key = head->key,
        .done = head->resume_after,
        .needs_ack = head->resume_after,
        .are_explicit = (consumer->table->flags & SLIPSTREAM_FLAG_EXPLICIT_ACK) != 0,
        .flush_number = atomic_load_explicit(&control->flush_done, memory_order_relaxed),
        .acked_at = head->resume_at,
        .point = head->resume_after,
        .point_at = head->resume_at};
    acks->is_slow = acks->are_explicit;
    connect(consumer);
    ss_host_settle *settle = &consumer->host->settle;
    ss_lock_take(&settle->lock);
    settle->delivery = delivery;
    settle->noticed = acks->are_explicit ? NULL : &acks->is_slow;
    settle->judge = acks->are_explicit ? judge : NULL;
    settle->late = refuse_late;
    settle->context = consumer;
    ss_lock_release(&settle->lock);
}

void ss_acks_end(ss_acks *acks) {
    ss_host_settle *settle = &acks->consumer->host->settle;
    ss_lock_take(&settle->lock);
    settle->delivery = NULL;
    settle->noticed = NULL;
    settle->judge = NULL;
    ss_lock_release(&settle->lock);
    ss_host_forget_rejections(settle, 0);
}

void ss_acks_slow_down(ss_acks *acks) {
    ss_consumer *consumer = acks->consumer;
    if (!acks->are_explicit && !acks->has_refused) { /* until now nobody has kept these up */
        ss_lock_take(&consumer->host->ack_lock);
        atomic_store(&consumer->acked, acks->done);
        atomic_store(&consumer->done, acks->done);
        consumer->told = acks->done;
        ss_lock_release(&consumer->host->ack_lock);
    }
    acks->is_slow = acks->has_refused = true;
}

void ss_acks_hear(ss_acks *acks, bool all) {
    ss_consumer *consumer = acks->consumer;
    if (!ss_consumer_has_refused(consumer) && !acks->has_refused)
        return;
    if (all)
        wait_until_kept(consumer, 0);
    if (ss_consumer_hear(consumer) > 0)
        return;
    acks->has_refused = false;
    acks->is_slow = acks->are_explicit;
}

static uint64_t acked(const ss_acks *acks) {
    return atomic_load(&acks->consumer->acked);
}

/* What needs no ack of the plugin is acknowledged once all before it is. */
static void settle(ss_acks *acks) {
    const uint64_t ordinal = acked(acks);
    if (ordinal >= acks->needs_ack && ordinal < acks->done)
        ss_consumer_raise_acked(acks->consumer, acks->done);
}

void ss_acks_finish_slowly(ss_acks *acks, uint64_t last, bool needs_ack) {
    if (!acks->are_explicit && !acks->has_refused) { /* what it rejected is forgotten */
        acks->is_slow = false;
        ss_acks_finish_fast(acks, last);
        return;
    }
    if (!acks->are_explicit) {
        acks->done = last;
        atomic_store(&acks->consumer->done, last);
        ss_consumer_raise_acked(acks->consumer, last);
        return;
    }
    settle(acks); /* with what was done before: from now on more may wait for an ack */
    const uint64_t before = acks->done;
    acks->done = last;
    atomic_store(&acks->consumer->done, last); /* in one order with `acked`: one side sees both */
    if (needs_ack)
        acks->needs_ack = last;
    settle(acks);
    if (acked(acks) > before) /* by the plugin, during its call */
        ss_consumer_raise_acked(acks->consumer, before);
    if (acks->consumer->flush_idle_ms != 0)
        acks->idle_flush_ns = WHEN_IDLE;
}

/* ---- Flushing -------------------------------------------------------------------------- */

static int32_t flush(ss_acks *acks, int32_t *status) {
    const ss_consumer *consumer = acks->consumer;
    ss_host *host = consumer->host;
    char text[2 * SLIPSTREAM_ERROR_MAX];
    *status = SLIPSTREAM_OK;
    if (!ss_acks_are_due(acks))
        return GO_ON;
    host->error_len = 0;
    atomic_store_explicit(&acks->control->flushing, 1, memory_order_relaxed);
    atomic_store_explicit(&host->function, "flush", memory_order_relaxed);
    *status = consumer->table->flush(consumer->table->instance, consumer->flush_timeout_ms);
    atomic_store_explicit(&host->function, NULL, memory_order_relaxed);
    ss_os_end_if_forked(host->process);
    atomic_store_explicit(&acks->control->flushing, 0, memory_order_relaxed);
    const uint64_t now = ss_os_now_ns();
    const uint64_t idle_ns = consumer->flush_idle_ms * UINT64_C(1000000);
    acks->idle_flush_ns = 0;
    acks->half_flush_ns = 0;
    if (*status == SLIPSTREAM_OK) {
        ss_consumer_raise_acked(acks->consumer, acks->done);
        return GO_ON;
    }
    acks->half_flush_ns = now + (idle_ns != 0 ? idle_ns : FLUSH_AGAIN_MS * UINT64_C(1000000));
    acks->idle_flush_ns = idle_ns != 0 ? now + idle_ns : 0;
    ss_host_judge_status(host, "flush", *status);
    ss_host_error(host, text, sizeof text);
    ss_log_queue_format(host->log, SLIPSTREAM_LOG_ERROR, host->log_id,
                        "flush returned %s (%d) after ordinal %llu%s%s", ss_status_name(*status),
                        (int)*status, (unsigned long long)acks->done, text[0] ? ": " : "", text);
    if (*status == SLIPSTREAM_FATAL)
        return SS_CONSUMED_FATAL;
    return *status == SLIPSTREAM_PANIC ? SS_CONSUMED_PANIC : GO_ON;
}

int32_t ss_acks_flush(ss_acks *acks) {
    int32_t status;
    return flush(acks, &status);
}

int32_t ss_acks_answer(ss_acks *acks, uint64_t at) {
    while (ss_acks_are_asked(acks)) {
        if (!acks->flush_asked) {
            acks->flush_asked = true;
            acks->flush_number = acks->flush_seen;
            /* Pairs with the release in ss_ring_commit. */
            acks->flush_after =
                atomic_load_explicit(&acks->consumer->view.head->head, memory_order_acquire);
        }
        if (at < acks->flush_after)
            return GO_ON;
        int32_t status;
        const int32_t end = flush(acks, &status);
        atomic_store_explicit(&acks->control->flush_status, status, memory_order_relaxed);
        /* Pairs with the acquire in look_at_flush (queue.c): whoever sees it sees the status. */
        atomic_store_explicit(&acks->control->flush_done, acks->flush_number,
                              memory_order_release);
        acks->flush_asked = false;
        if (end != GO_ON)
            return end;
    }
    return GO_ON;
}

/* Keeps up where the unacknowledged begins. */
static void measure_unacked(ss_acks *acks, uint64_t at) {
    const uint64_t ordinal = acked(acks);
    if (ordinal >= acks->point) {
        acks->acked_at = acks->point_at;
        acks->point = acks->done;
        acks->point_at = at;
    }
    if (ordinal >= acks->done)
        acks->acked_at = at;
}

bool ss_acks_have_waited(ss_acks *acks, uint64_t at, uint64_t *ms) {
    const ss_consumer *consumer = acks->consumer;
    if (!acks->are_explicit)
        return false;
    settle(acks);
    measure_unacked(acks, at);
    if (!ss_acks_are_due(acks))
        return false;
    const uint64_t now = ss_os_now_ns();
    if (acks->idle_flush_ns == WHEN_IDLE)
        acks->idle_flush_ns = now + consumer->flush_idle_ms * UINT64_C(1000000);
    const bool half = at - acks->acked_at >= consumer->view.bytes / 2;
    if ((half && now >= acks->half_flush_ns) ||
        (acks->idle_flush_ns != 0 && now >= acks->idle_flush_ns))
        return true;
    const uint64_t next = half ? acks->half_flush_ns : acks->idle_flush_ns;
    if (next != 0 && (next - now) / 1000000 < *ms)
        *ms = (next - now) / 1000000 + 1;
    return false;
}
