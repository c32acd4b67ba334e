#include "check/steps.h"

#include "check/allocations.h"
#include "check/calls.h"
#include "check/events.h"
#include "check/fuzz.h"
#include "check/guest.h"
#include "check/state.h"
#include "check/notes.h"
#include "check/threads.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { STEPS = 65536 };

static void keep(void *at) {
    ss_state_keep(*(const uint32_t *)at % SS_KEPT);
}

static void compare(void *argument) {
    const ss_play_step *step = argument;
    ss_state_compare(step->a % SS_KEPT, step->b);
}

static void heap(void) {
    uint64_t bytes;
    uint64_t mappings;
    ss_state_heap(&bytes, &mappings);
    ss_note(SS_PLAYED_VALUE, SLIPSTREAM_OK, bytes, mappings, NULL, 0);
}

static void acked(const ss_play_step *step) {
    const ss_guest *guest = ss_guest_in(step->slot);
    if (guest == NULL)
        ss_note_text(SS_PLAYED_UNPLAYED, 0, "there is no plugin to ask of");
    else
        ss_note(SS_PLAYED_VALUE, SLIPSTREAM_OK, atomic_load(&guest->host.acked),
                atomic_load(&guest->host.delivered), NULL, 0);
}

static void stopping(const ss_play_step *step) {
    ss_guest *guest = ss_guest_in(step->slot);
    if (guest != NULL)
        atomic_store_explicit(&guest->host.stopping, step->a, memory_order_relaxed);
}

static void allocations(const ss_play_step *step) {
    if (step->a != 0)
        ss_allocations_watch(step->c);
    else
        ss_note(SS_PLAYED_VALUE, SLIPSTREAM_OK, ss_allocations_stop(), 0, NULL, 0);
}

/* So long, and on a busy machine until what was to run meanwhile has run. */
static void sleep_well(uint64_t ms) {
    enum { TIMES = 20 };
    const uint64_t end = ss_os_now_ns() + TIMES * ms * 1000000;
    ss_os_sleep_ns(ms * 1000000);
    while (ss_state_others_run() && ss_os_now_ns() < end)
        ss_os_sleep_ns(1000000);
}

/* What a copy of this process holds open for as long as it is one: both ends close on exec. */
static int line[2] = {-1, -1};

static void open_line(void) {
    if (pipe2(line, O_CLOEXEC) != 0)
        ss_give_up("there are no descriptors for the check");
}

/* The other end is closed when the last copy has ended, or has become another program. */
static void wait_for_children(const ss_play_step *step) {
    struct pollfd other = {line[0], POLLIN, 0};
    close(line[1]);
    while (poll(&other, 1, (int)step->a) < 0 && errno == EINTR)
        continue;
    close(line[0]);
    open_line();
}

static void play(const ss_play_step *step, const void *data) {
    switch (step->what) {
    case SS_PLAY_OPEN:
        ss_call_open(step, data);
        break;
    case SS_PLAY_CLOSE:
        ss_call_close(step);
        break;
    case SS_PLAY_CONSTRUCT:
        ss_call_construct(step, data);
        break;
    case SS_PLAY_TABLE:
        ss_call_table(step);
        break;
    case SS_PLAY_LOAD:
        ss_call_load(step, data);
        break;
    case SS_PLAY_SUBSCRIBED:
        ss_call_subscribed(step);
        break;
    case SS_PLAY_CLAIMS:
        ss_call_claims(step);
        break;
    case SS_PLAY_EXTENSION:
        ss_call_extension(step, data);
        break;
    case SS_PLAY_DELIVER:
        ss_events_deliver(step, data);
        break;
    case SS_PLAY_CONCURRENT:
        ss_events_concurrent(step, data);
        break;
    case SS_PLAY_MUTATE:
        ss_events_mutate(step, data);
        break;
    case SS_PLAY_FUZZ:
        ss_fuzz(step, data);
        break;
    case SS_PLAY_FLUSH:
        ss_call_flush(step);
        break;
    case SS_PLAY_UNLOAD:
        ss_call_unload(step);
        break;
    case SS_PLAY_DESTROY:
        ss_call_destroy(step);
        break;
    case SS_PLAY_STOPPING:
        stopping(step);
        break;
    case SS_PLAY_THREAD:
        ss_threads_choose(step->a, (size_t)step->c);
        break;
    case SS_PLAY_KEEP:
        ss_threads_run(keep, (void *)(uintptr_t)&step->a);
        break;
    case SS_PLAY_COMPARE:
        ss_threads_run(compare, (void *)(uintptr_t)step);
        break;
    case SS_PLAY_HEAP:
        heap();
        break;
    case SS_PLAY_ALLOCATIONS:
        allocations(step);
        break;
    case SS_PLAY_SLEEP:
        sleep_well(step->a);
        break;
    case SS_PLAY_CHILDREN:
        wait_for_children(step);
        break;
    case SS_PLAY_MAPPED:
        ss_note(SS_PLAYED_VALUE, SLIPSTREAM_OK, ss_os_library_is_mapped(data), 0, NULL, 0);
        break;
    case SS_PLAY_ACKED:
        acked(step);
        break;
    default:
        ss_give_up("the script has an unknown step");
    }
}

static size_t places[STEPS];   /* where each step begins */
static uint64_t rounds[STEPS]; /* of an AGAIN: how often it went back */

void ss_play(const uint8_t *script, size_t len) {
    uint32_t count = 0;
    for (size_t at = 0; at + sizeof(ss_play_step) <= len && count < STEPS; count++) {
        const ss_play_step *step = (const ss_play_step *)(const void *)(script + at);
        places[count] = at;
        at += sizeof *step + (step->len + (size_t)7) / 8 * 8;
        if (step->slot >= SS_PLAY_SLOTS || at > len)
            ss_give_up("the script is cut off");
        if (step->what == SS_PLAY_CHILDREN && line[0] < 0)
            open_line();
    }
    for (uint32_t at = 0; at < count; at++) {
        const ss_play_step *step = (const ss_play_step *)(const void *)(script + places[at]);
        ss_trace()->step = at;
        if (step->what == SS_PLAY_EXIT) {
            ss_note(SS_PLAYED_END, 0, 0, 0, NULL, 0);
            ss_call_begins(); /* what runs now is the plugin's */
            exit(0);
        }
        if (step->what != SS_PLAY_AGAIN) {
            play(step, step + 1);
        } else if (++rounds[at] < step->c && step->a <= at &&
                   (step->d == 0 || !ss_fuzz_is_over())) {
            at -= step->a + 1;
        } else {
            rounds[at] = 0;
        }
    }
    ss_note(SS_PLAYED_END, 0, 0, 0, NULL, 0);
}
