#include "process/blame.h"

#define MS UINT64_C(1000000)

/* Flushing after each event finds out which of them a flush crashes on. */
static void count_flush(ss_blame *blame, const ss_in_flight *in_flight) {
    if (!in_flight->flushing) {
        blame->flush_crashes = 0;
    } else if (blame->flush_crashes == 0 || in_flight->acked >= blame->flush_until) {
        blame->flush_crashes = 1;
        blame->flush_until = in_flight->last;
    } else {
        blame->flush_crashes++; /* one of the same events */
    }
}

uint64_t ss_blame_crash(ss_blame *blame, const ss_in_flight *in_flight, uint64_t now) {
    bool repeated = false;
    if (in_flight->last != 0)
        count_flush(blame, in_flight);
    if (in_flight->run == 1) { /* a run blames nobody; it is replayed one by one */
        repeated = blame->poison == in_flight->last;
        blame->poison_crashes = repeated ? blame->poison_crashes + 1 : 1;
        blame->poison = in_flight->last;
    }
    if (!repeated)
        blame->crash_ns[blame->crashes++ % SS_CRASHES_MAX] = now;
    if (blame->poison_crashes < SS_POISON_CRASHES)
        return 0;
    const uint64_t poison = blame->poison;
    blame->poison = 0;
    blame->poison_crashes = 0;
    return poison;
}

bool ss_blame_wants_flushes(const ss_blame *blame) {
    return blame->poison_crashes >= SS_POISON_CRASHES - 1 || blame->flush_crashes >= 2;
}

uint32_t ss_blame_recent(const ss_blame *blame, const ss_spec *spec, uint64_t now) {
    const uint32_t kept = blame->crashes < SS_CRASHES_MAX ? blame->crashes : SS_CRASHES_MAX;
    uint32_t recent = blame->failed_starts;
    for (uint32_t i = 0; i < kept; i++)
        recent += now - blame->crash_ns[i] <= spec->window_ms * MS;
    return recent;
}

uint64_t ss_blame_delay_ns(const ss_spec *spec, uint32_t recent, uint64_t random) {
    uint64_t ms = spec->initial_delay_ms;
    for (uint32_t i = 1; i < recent && ms < spec->max_delay_ms; i++)
        ms *= 2;
    if (ms > spec->max_delay_ms)
        ms = spec->max_delay_ms;
    return (ms + random % 100 * ms / 1000) * MS; /* up to a tenth more */
}

void ss_blame_forget(ss_blame *blame) {
    blame->crashes = 0;
    blame->failed_starts = 0;
    blame->never_started = 0;
}
