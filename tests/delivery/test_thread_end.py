"""Thread mode: unloads, the close, and what is left behind."""

from __future__ import annotations

import gc
import os
import threading
import time
from pathlib import Path

import pytest

from slipstream import Block, BroadcastError, ClosedError, PluginManager
from support.gated import Gated, Told, wait_until
from support.logs import capture_logs
from support.process_tools import Footprint, Growth, instance_threads, mapped_copies
from support.recorded import MULTI, Recorder
from support.rings import RING, THREAD, heights_in, small


@pytest.mark.no_asan  # which keeps what is freed
def test_many_loads_and_unloads_leave_nothing(examples) -> None:
    """500 cycles; SLIPSTREAM_LONG=1 makes it 10,000."""
    count = 10_000 if os.environ.get("SLIPSTREAM_LONG") else 500
    config = {
        "libpath": str(examples / "minimal" / "minimal.so"), "mode": "thread", "ring_bytes": RING,
    }  # fmt: skip
    with PluginManager(log_level="error") as manager, capture_logs() as logs:

        def cycle(i: int) -> None:
            plugin = manager.load_plugin(config)
            manager.broadcast_many([Block(b"", i)] * 20)
            manager.unload_plugin("minimal")
            assert plugin.counters.delivered == 20
            assert mapped_copies() == set()
            logs.clear()

        for i in range(50):
            cycle(i)
        gc.collect()
        before = Footprint.now()
        grown = Growth.of(lambda: [cycle(i) for i in range(count // 4)])
        # Of each cycle a few bytes, an object, or a page, are more than that.
        assert grown.heap_kib < count // 100, grown
        assert grown.python_blocks < count // 20, grown
        assert grown.pages_kib < count, grown
        gc.collect()
        assert Footprint.now() == before
        assert manager._pump.names == {}
    assert instance_threads() == []


def resident_kib() -> int:
    status = Path("/proc/self/status").read_text()
    return int(next(line for line in status.splitlines() if line.startswith("VmRSS")).split()[1])


@pytest.mark.parametrize("mode", ["thread", "process"])
def test_an_unload_that_is_too_slow_writes_down_what_is_left(
    manager, compile_plugin, tmp_path, mode
) -> None:
    recorder = Recorder(compile_plugin, tmp_path)
    manager.load_plugin(recorder.config(mode=mode, event_ms=50))
    manager.broadcast_many([small(height) for height in range(1, 101)])
    wait_until(lambda: recorder.events, "it does not begin")
    with capture_logs() as logs:
        manager.unload_plugin("recorder", 3)
    got = len(recorder.events)
    assert got < 100  # all of them would take 5 seconds
    assert recorder.calls[-2:] == ["unload", "destroy"]
    problem = next(line["problem"] for line in logs if "problem" in line)
    assert f"{100 - got} events were not acknowledged" in problem
    assert "stays mapped" not in problem
    (left,) = (tmp_path / "data" / "recorder").glob("undelivered-*.slip")
    assert heights_in(left) == list(range(got + 1, 101))


def test_a_plugin_that_is_told_to_stop_keeps_the_event(manager, compile_plugin, tmp_path) -> None:
    gated = Gated(compile_plugin, tmp_path)
    gated.let_pass(1)
    manager.load_plugin(gated.config(**THREAD, heeds_stop=1))
    manager.broadcast_many([small(1), small(2)])
    gated.wait_at_gate()
    manager.unload_plugin("gated", 3)
    assert gated.order == [1]
    assert gated.of("unload")
    (left,) = (tmp_path / "data" / "gated").glob("undelivered-*.slip")
    assert heights_in(left) == [2]


def test_close_while_streaming(compile_plugin, tmp_path) -> None:
    plugins = [Gated(compile_plugin, tmp_path, name=name) for name in ("one", "two")]
    manager = PluginManager(insecure_paths=True, data_dir=tmp_path / "data")
    loaded = [
        manager.load_plugin(
            plugin.config(**THREAD, overflow=overflow, buffered=1, block_timeout=240, gate="")
        )
        for plugin, overflow in zip(plugins, ("block", "drop_oldest"), strict=True)
    ]
    ends: list[BaseException] = []

    def send() -> None:
        try:
            while True:
                manager.broadcast_many([small(height) for height in range(50)])
        except (ClosedError, BroadcastError) as error:
            ends.append(error)

    senders = [threading.Thread(target=send) for _ in range(3)]
    for sender in senders:
        sender.start()
    time.sleep(0.3)
    manager.close()
    for sender in senders:
        sender.join(240)
        assert not sender.is_alive()
    assert [type(error) for error in ends] == [ClosedError] * 3
    for gated, plugin in zip(plugins, loaded, strict=True):
        counters = plugin.counters
        told: list[int] = []
        for one in gated.order:
            told += range(one.first, one.last + 1) if isinstance(one, Told) else [one]
        assert told == list(range(1, counters.accepted + 1))
        assert counters.accepted == counters.delivered + counters.lost
        assert counters.acknowledged == counters.accepted


def test_numbers_may_be_asked_for_at_any_time(manager, compile_plugin, tmp_path) -> None:
    recorder = Recorder(compile_plugin, tmp_path, flags=MULTI)
    config = recorder.config(**THREAD)
    stop = threading.Event()
    plugins = [manager.load_plugin(config)]
    problems: list[BaseException] = []

    def ask() -> None:
        try:
            while not stop.is_set():
                for plugin in plugins[-2:]:
                    counters = plugin.counters
                    assert counters.acknowledged <= counters.accepted
                    assert plugin.status
                    assert plugin.metrics == []
        except Exception as error:  # noqa: BLE001 - all of them are told
            problems.append(error)

    askers = [threading.Thread(target=ask) for _ in range(2)]
    for asker in askers:
        asker.start()
    for height in range(40):
        manager.broadcast(small(height))
        if height % 4 == 3:
            manager.unload_plugin("recorder")
            plugins.append(manager.load_plugin(config))
        elif height % 4 == 1:
            manager.reload_plugin("recorder", config)
    stop.set()
    for asker in askers:
        asker.join(240)
    assert problems == []
