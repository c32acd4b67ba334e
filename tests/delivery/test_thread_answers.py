"""Thread mode: what a plugin answers and acknowledges."""

from __future__ import annotations

import time

import pytest

from slipstream import FlushTimeout, GapReason
from support.gated import wait_until
from support.logs import capture_logs
from support.recorded import EXPLICIT_ACK, Recorder
from support.rings import THREAD, heights_in, page, small


@pytest.mark.parametrize(("status", "name"), [(-16, "FATAL"), (-17, "PANIC")])
def test_a_plugin_that_gives_up_keeps_the_event(
    manager, compile_plugin, tmp_path, status, name
) -> None:
    recorder = Recorder(compile_plugin, tmp_path)
    config = recorder.config(**THREAD, block_timeout=240)
    plugin = manager.load_plugin({**config, "statuses": [0, status]})
    for height in range(1, 4):
        manager.broadcast(small(height))
    wait_until(lambda: str(plugin.state) == "failed", "it does not fail")
    assert name in plugin.reason
    assert plugin.counters.acknowledged == 1
    start = time.monotonic()
    with pytest.raises(FlushTimeout, match=rf"recorder \(failed\): acknowledged 1 of 3.*{name}"):
        manager.flush(240)
    for height in range(4, 40):  # nobody waits for it
        manager.broadcast(page(height))
    assert time.monotonic() - start < 200
    dropped = plugin.counters.lost
    assert dropped > 0
    manager.reload_plugin("recorder", config)
    assert str(plugin.state) == "running"
    manager.flush(240)
    unloads = [call for call in recorder.calls if call == "unload"]
    assert len(unloads) == (1 if name == "FATAL" else 0)
    events = [line for line in recorder.events if line["status"] == 0]
    assert [line["ordinal"] for line in events] == [*range(1, 40 - dropped), 39]
    assert [line["attempt"] for line in events][:3] == [1, 2, 1]
    assert events[-1]["gap"][:4] == [GapReason.PAUSED, 40 - dropped, 39, dropped]


def test_retry_backs_off_and_keeps_the_order(manager, compile_plugin, tmp_path) -> None:
    recorder = Recorder(compile_plugin, tmp_path)
    plugin = manager.load_plugin(recorder.config(**THREAD, statuses=[-2, -12, -14, 0, 0]))
    start = time.monotonic()
    manager.broadcast_many([small(1), small(2)])
    manager.flush(240)
    assert time.monotonic() - start > 0.06  # 10, 20 and 40 ms
    told = [(line["ordinal"], line["attempt"]) for line in recorder.events]
    assert told == [(1, 1), (1, 2), (1, 3), (1, 4), (2, 1)]
    counters = plugin.counters
    assert (counters.delivered, counters.dead, counters.acknowledged) == (2, 0, 2)


def test_refused_events_are_kept_as_dead_letters(manager, compile_plugin, tmp_path) -> None:
    recorder = Recorder(compile_plugin, tmp_path)
    letters = tmp_path / "dead.slip"
    plugin = manager.load_plugin(
        recorder.config(**THREAD, statuses=[0, -1, 0, *[-3]], dead_letter=str(letters))
    )
    manager.broadcast_many([small(height) for height in range(1, 7)])
    manager.flush(240)
    counters = plugin.counters
    assert (counters.accepted, counters.delivered, counters.dead) == (6, 4, 2)
    assert (counters.lost, counters.acknowledged) == (0, 6)
    assert str(plugin.state) == "running"
    manager.unload_plugin("recorder")
    assert heights_in(letters) == [2, 4]


def test_a_flush_that_fails_is_told(manager, compile_plugin, tmp_path) -> None:
    recorder = Recorder(compile_plugin, tmp_path, flags=EXPLICIT_ACK)
    manager.load_plugin(recorder.config(**THREAD, flush_status=-13, flush_interval=600))
    manager.broadcast(small(1))
    with pytest.raises(FlushTimeout, match=r"acknowledged 0 of 1: its flush failed \(IO"):
        manager.flush(240)


ACKER = r"""
#include <slipstream.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <time.h>

typedef struct acker {
    slipstream_plugin table;
    const slipstream_host *host;
    pthread_t thread;
    _Atomic uint64_t seen;
    atomic_int stop;
} acker;

static void nap(long us) {
    const struct timespec time = {0, us * 1000};
    nanosleep(&time, NULL);
}
/* Acknowledges a moment later, as a sink does whose writes are asynchronous. */
static void *acknowledge(void *context) {
    acker *self = context;
    for (;;) {
        const uint64_t seen = atomic_load(&self->seen);
        const int stop = atomic_load(&self->stop);
        nap(100);
        if (seen > 0)
            slipstream_ack(self->host, seen);
        if (stop)
            return NULL;
    }
}
static int32_t on_load(void *instance, const char *json, size_t len, uint32_t reason) {
    acker *self = instance;
    (void)json, (void)len, (void)reason;
    return pthread_create(&self->thread, NULL, acknowledge, self) == 0 ? 0 : SLIPSTREAM_FAILED;
}
static int32_t on_unload(void *instance, uint32_t ms) {
    acker *self = instance;
    (void)ms;
    nap(2000);
    atomic_store(&self->stop, 1);
    pthread_join(self->thread, NULL);
    return 0;
}
static void destroy(void *instance) { free(instance); }
static uint64_t subscribed_events(void *instance) {
    (void)instance;
    return SLIPSTREAM_KIND_BIT(SLIPSTREAM_KIND_BLOCK);
}
static int32_t on_broadcast(void *instance, const slipstream_delivery *delivery,
                            const uint8_t *frames, size_t len) {
    acker *self = instance;
    (void)frames, (void)len;
    atomic_store(&self->seen, delivery->first_ordinal + delivery->count - 1);
    return 0;
}
static int32_t flush(void *instance, uint32_t ms) {
    (void)instance, (void)ms;
    return SLIPSTREAM_RETRY; /* not now: what is on its way is acknowledged later */
}
const slipstream_plugin *slipstream_create_plugin_v1(const slipstream_host *host) {
    acker *self = calloc(1, sizeof *self);
    const slipstream_plugin table = {sizeof table, SLIPSTREAM_ABI_MINOR, 0,
        SLIPSTREAM_FLAG_EXPLICIT_ACK | SLIPSTREAM_FLAG_BATCH, self, "acker", "1", destroy,
        on_load, on_unload, subscribed_events, on_broadcast, flush, NULL};
    if (self == NULL)
        return NULL;
    self->table = table;
    self->host = host;
    return &self->table;
}
"""


def test_acks_of_another_thread_count_until_the_unload_is_over(manager, compile_plugin) -> None:
    config = {"libpath": str(compile_plugin(ACKER, name="acker")), **THREAD, "block_timeout": 30}
    for _ in range(10):
        plugin = manager.load_plugin(config)
        for round_ in range(1, 4):
            manager.broadcast_many([small(height) for height in range(1000)])
            manager.reload_plugin("acker", config)
            assert plugin.counters.acknowledged == 1000 * round_
        manager.broadcast_many([small(height) for height in range(100)])
        with capture_logs() as logs:
            manager.unload_plugin("acker")
        assert not [line for line in logs if "problem" in line]
        assert plugin.counters.acknowledged == plugin.counters.accepted == 3100
