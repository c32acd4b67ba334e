/* wakes: consumers that sleep are woken once their events are in their rings. */
#include "sequencer/types.h"

enum {
    AT_ONCE = 2, /* so many we wake by ourselves: nothing is sooner */
};

/* How long it waits for the next hand-over at most: it is woken for each. */
#define WAIT_NS (10 * UINT64_C(1000000000))

void ss_slot_wake_handed(ss_slot *s) {
    /* Pairs with the release in hand_over: what it is woken for is in its ring. */
    if (atomic_exchange_explicit(&s->wake_handed, false, memory_order_acquire))
        ss_ring_end_sleep(s->queue->ring);
}

/* The slot may go at any time, its queue with it: look under the lock, one by one. */
static void wake_handed(ss_sequencer *sequencer) {
    for (uint32_t i = 0; i < SS_SLOTS_MAX; i++) {
        ss_os_mutex_lock(&sequencer->slots_lock);
        ss_slot *s = i < sequencer->count ? sequencer->slots[i] : NULL;
        if (s != NULL)
            ss_slot_wake_handed(s);
        ss_os_mutex_unlock(&sequencer->slots_lock);
        if (s == NULL)
            return;
    }
}

static void *run_waker(void *argument) {
    ss_sequencer *sequencer = argument;
    ss_waker *waker = &sequencer->waker;
    ss_os_thread_set_name("slip-waker");
    while (atomic_load(&waker->stop) == 0) {
        const uint32_t seen = atomic_load(&waker->handed);
        wake_handed(sequencer);
        atomic_store(&waker->sleeps, 1);
        if (atomic_load(&waker->handed) == seen && atomic_load(&waker->stop) == 0)
            ss_os_wait(&waker->handed, seen, WAIT_NS, false);
        atomic_store(&waker->sleeps, 0);
    }
    return NULL;
}

/* Both sides write, then look at what the other writes. */
void ss_waker_rouse(ss_waker *waker) {
    atomic_fetch_add(&waker->handed, 1);
    if (atomic_load(&waker->sleeps) != 0)
        ss_os_wake(&waker->handed, false);
}

/* A consumer that is woken takes the processor at once, for one event; where they are many, it
 * would be with each of them. So somebody else waits for that, and we go on. */
static bool hand_over(ss_sequencer *sequencer) {
    ss_waker *waker = &sequencer->waker;
    if (!waker->runs)
        waker->runs = ss_os_thread_start(&waker->thread, run_waker, sequencer);
    if (!waker->runs)
        return false;
    for (uint32_t i = 0; i < sequencer->sleeper_count; i++)
        atomic_store_explicit(&sequencer->sleepers[i]->wake_handed, true, memory_order_release);
    ss_waker_rouse(waker);
    return true;
}

void ss_sequencer_wake_all(ss_sequencer *sequencer) {
    if (sequencer->sleeper_count <= AT_ONCE || !hand_over(sequencer))
        for (uint32_t i = 0; i < sequencer->sleeper_count; i++)
            ss_ring_end_sleep(sequencer->sleepers[i]->queue->ring);
    sequencer->sleeper_count = 0;
}

void ss_waker_stop(ss_waker *waker) {
    if (!waker->runs)
        return;
    atomic_store(&waker->stop, 1);
    ss_waker_rouse(waker);
    ss_os_thread_join(waker->thread);
    waker->runs = false;
}
