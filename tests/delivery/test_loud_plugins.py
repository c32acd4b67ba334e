"""Plugins that never hold their tongue: eight threads of them, all the time. No call of the manager
waits for that, and events go on."""

from __future__ import annotations

import time

import pytest

from slipstream import Payload, PluginManager
from support.logs import capture_logs

LOUD = """
#include <slipstream.h>
#include <pthread.h>
#include <stdatomic.h>

enum { THREADS = 8 };
static const slipstream_host *host;
static pthread_t threads[THREADS];
static atomic_int over;

static void *talk(void *unused) {
    (void)unused;
    while (!atomic_load(&over))
        SAY;
    return NULL;
}
static void destroy(void *unused) { (void)unused; }
static uint64_t subscribed_events(void *unused) { (void)unused; return ~(uint64_t)0; }
static int32_t on_load(void *unused, const char *config, size_t len, uint32_t reason) {
    (void)unused, (void)config, (void)len, (void)reason;
    for (int i = 0; i < THREADS; i++)
        if (pthread_create(&threads[i], NULL, talk, NULL) != 0)
            return SLIPSTREAM_FATAL;
    return SLIPSTREAM_OK;
}
static int32_t on_unload(void *unused, uint32_t timeout_ms) {
    (void)unused, (void)timeout_ms;
    atomic_store(&over, 1);
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    return SLIPSTREAM_OK;
}
static int32_t on_broadcast(void *unused, const slipstream_delivery *delivery,
                            const uint8_t *frames, size_t len) {
    (void)unused, (void)delivery, (void)frames, (void)len;
    return SLIPSTREAM_OK;
}
const slipstream_plugin *slipstream_create_plugin_v1(const slipstream_host *given) {
    static const slipstream_plugin table = {
        sizeof table, SLIPSTREAM_ABI_MINOR, 0, 0, NULL, "loud", "1", destroy, on_load, on_unload,
        subscribed_events, on_broadcast, NULL, NULL};
    host = given;
    return &table;
}
"""
WRONG_ACKS = "host->ack(host->ctx, ~(uint64_t)0 / 2)"
LINES = 'host->log(host->ctx, SLIPSTREAM_LOG_ERROR, "and another thing", 17)'


@pytest.mark.parametrize("mode", ["inline", "thread", "process"])
@pytest.mark.parametrize("say", [WRONG_ACKS, LINES], ids=["wrong acks", "lines"])
def test_eight_threads_without_pause_hold_nothing_up(compile_plugin, tmp_path, mode, say) -> None:
    library = compile_plugin(LOUD.replace("SAY", say), "-pthread", name="loud")
    began = time.monotonic()
    with capture_logs() as logs:
        with PluginManager(mode, insecure_paths=True, data_dir=tmp_path) as manager:
            plugin = manager.load_plugin({"libpath": str(library)})
            for _ in range(20):
                manager.broadcast_many([Payload(b"event", b"hello")] * 10)
                manager.flush(60)
                manager.pause("loud")
                manager.resume("loud")
                assert plugin.state == "running"
            manager.reload_plugin("loud")
            manager.unload_plugin("loud", 60)
        assert time.monotonic() - began < 120  # what hangs does so for good
    counters = plugin.counters
    assert counters.delivered == counters.accepted == 200
    said = [line for line in logs if line["event"].startswith("suppressed")]
    assert said, "nothing was held back"
