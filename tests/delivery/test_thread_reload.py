"""Thread mode: reloads, by good versions and by bad ones."""

from __future__ import annotations

import threading
import time

import pytest

from slipstream import (
    ConfigError,
    MappingUpdate,
    Payload,
    PluginFailed,
    PluginLoadError,
    PluginStartError,
)
from support.gated import Gated, Told, wait_until
from support.process_tools import instance_threads, mapped_copies
from support.recorded import BATCH, EXPLICIT_ACK, MULTI, Recorder
from support.rings import RING, THREAD, page, small

BLOCK = 1 << 3


@pytest.mark.parametrize("how", ["replace", "overlap"])
@pytest.mark.parametrize("flags", [MULTI, MULTI | EXPLICIT_ACK | BATCH])
def test_reloads_while_streaming_lose_nothing(
    manager, compile_plugin, tmp_path, how, flags
) -> None:
    gated = Gated(compile_plugin, tmp_path, flags=flags)
    config = gated.config(
        mode="thread", ring_bytes=1 << 20, block_timeout=240, buffered=1, reload=how, gate=""
    )
    plugin = manager.load_plugin(config)
    stop = threading.Event()
    sent = 0

    def send() -> None:
        nonlocal sent
        while not stop.is_set() and sent < 100_000:
            manager.broadcast_many([small(sent + i) for i in range(1, 101)])
            sent += 100

    sender = threading.Thread(target=send)
    sender.start()
    for _ in range(8):
        time.sleep(0.05)
        manager.reload_plugin("gated", config)
    stop.set()
    sender.join(240)
    manager.flush(240)
    counters = plugin.counters
    assert (counters.accepted, counters.delivered) == (sent, sent)
    assert (counters.dead, counters.lost, counters.acknowledged) == (0, 0, sent)
    manager.unload_plugin("gated")
    events = gated.events
    # Each line is whole, but two generations that overlap buffer apart.
    assert sorted(event.ordinal for event in events) == list(range(1, sent + 1))
    assert {event.attempt for event in events} == {1}
    assert all(event.height == event.ordinal for event in events)
    assert [line[1] for line in gated.of("load")] == ["0", *["1"] * 8]
    if how == "replace":
        assert gated.order == list(range(1, sent + 1))


def test_reload_with_other_subscriptions_and_claims(manager, compile_plugin, tmp_path) -> None:
    old = Gated(compile_plugin, tmp_path, kinds=BLOCK)
    new = Gated(compile_plugin, tmp_path, kinds=1, version="2")
    plugin = manager.load_plugin(old.config(**THREAD, claim="old"))
    assert manager.has_subscribers(3)
    assert not manager.has_subscribers(0)
    manager.broadcast(small(1))
    manager.reload_plugin("gated", new.config(**THREAD, claim="new"))
    assert plugin.version == "2"
    assert not manager.has_subscribers(3)
    assert manager.has_subscribers(0)
    manager.broadcast(small(2))
    manager.broadcast(MappingUpdate(b"p", b"m", b"k", b"v", 3))
    assert not manager.route(Payload(b"old", b""))
    assert manager.route(Payload(b"new", b"", None, 4))
    manager.flush(240)
    assert [event.height for event in new.events] == [1, 3, 4]
    assert plugin.counters.delivered == 3


def test_counters_and_times_go_on_over_a_reload(manager, compile_plugin, tmp_path) -> None:
    recorder = Recorder(compile_plugin, tmp_path)
    config = recorder.config(**THREAD, event_ms=2)
    plugin = manager.load_plugin(config)
    for height in range(10):
        manager.broadcast(small(height))
    manager.flush(240)
    before = plugin.counters
    assert before.callbacks_timed == 10
    assert before.callback_ns > 20e6
    assert sum(before.callback_buckets) == 10
    assert sum(before.callback_buckets[:21]) == 0  # none below a millisecond
    manager.reload_plugin("recorder", config)
    manager.broadcast(small(10))
    manager.flush(240)
    after = plugin.counters
    assert (after.accepted, after.delivered, after.callbacks_timed) == (11, 11, 11)
    assert after.callback_ns > before.callback_ns
    assert sum(after.callback_buckets) == 11


def test_a_new_version_that_does_not_start_leaves_the_old_one(
    manager, compile_plugin, tmp_path
) -> None:
    gated = Gated(compile_plugin, tmp_path, flags=MULTI)
    config = gated.config(**THREAD)
    plugin = manager.load_plugin(config)
    manager.broadcast(small(1))
    for how in ("replace", "overlap"):
        with pytest.raises(PluginStartError, match="told to fail"):
            manager.reload_plugin("gated", {**config, "reload": how, "load_status": -1})
        assert str(plugin.state) == "running"
        manager.broadcast(small(2))
        manager.flush(240)
    assert gated.order == [1, 2, 3]
    assert [line[1] for line in gated.of("load")] == ["0", "1"]  # again, after "replace"
    assert len(instance_threads()) == 1
    assert len(mapped_copies()) == 1


def test_neither_version_starts(manager, compile_plugin, tmp_path) -> None:
    gated = Gated(compile_plugin, tmp_path)
    folder = tmp_path / "gone"
    folder.mkdir()
    gated.log = folder / "log"
    config = gated.config(**THREAD, block_timeout=240)
    plugin = manager.load_plugin(config)
    manager.broadcast(small(1))
    manager.flush(240)
    gated.log.rename(tmp_path / "log")
    folder.rmdir()
    with pytest.raises(PluginFailed, match="neither|could not be started"):
        manager.reload_plugin("gated", config)
    assert str(plugin.state) == "failed"
    assert "neither version" in plugin.reason
    start = time.monotonic()
    for height in range(2, 40):
        manager.broadcast(page(height))
    assert time.monotonic() - start < 200
    with pytest.raises(PluginStartError):
        manager.reload_plugin("gated", config)
    assert str(plugin.state) == "failed"
    folder.mkdir()
    manager.reload_plugin("gated", config)
    assert str(plugin.state) == "running"
    manager.flush(240)
    assert gated.order[:3] == [2, 3, 4]
    assert isinstance(gated.order[-1], Told)
    manager.unload_plugin("gated")
    assert mapped_copies() == set()


@pytest.mark.parametrize("moment", ["while it drains", "in on_unload", "in on_load"])
def test_ctrl_c_during_a_reload_leaves_the_old_version(
    manager, compile_plugin, tmp_path, moment
) -> None:
    recorder = Recorder(compile_plugin, tmp_path)
    call = {"while it drains": "event", "in on_unload": "unload", "in on_load": "load"}[moment]
    config = recorder.held_config(**THREAD)
    plugin = manager.load_plugin(config)
    recorder.hold(call)
    manager.broadcast_many([small(height) for height in range(1, 21)])
    if moment != "while it drains":
        manager.flush(240)
    with recorder.ctrl_c_while_held(call, after=0.3 if call == "event" else 0):
        manager.reload_plugin("recorder", config)
    assert str(plugin.state) == "running"
    manager.broadcast(small(21))
    manager.flush(240)
    assert recorder.ordinals == list(range(1, 22))
    counters = plugin.counters
    assert (counters.accepted, counters.delivered, counters.lost) == (21, 21, 0)
    manager.reload_plugin("recorder", config)
    manager.unload_plugin("recorder")
    wait_until(lambda: mapped_copies() == set(), "a version stays mapped")


def test_what_a_reload_cannot_change_is_refused(manager, compile_plugin, tmp_path) -> None:
    gated = Gated(compile_plugin, tmp_path)
    acking = Gated(compile_plugin, tmp_path, flags=EXPLICIT_ACK, version="2")
    config = gated.config(**THREAD, overflow="drop_oldest")
    plugin = manager.load_plugin(config)
    for key, value in (("ring_bytes", 2 * RING), ("overflow", "block"), ("block_timeout", 1)):
        with pytest.raises(ConfigError, match=f"`{key}` of gated cannot be changed by a reload"):
            manager.reload_plugin("gated", {**config, key: value})
    with pytest.raises(PluginLoadError, match="EXPLICIT_ACK"):
        manager.reload_plugin("gated", {**config, "libpath": str(acking.library)})
    with pytest.raises(PluginLoadError, match="MULTI_INSTANCE"):
        manager.reload_plugin("gated", {**config, "reload": "overlap"})
    manager.broadcast(small(1))
    manager.flush(240)
    assert plugin.version == "1"
    assert gated.order == [1]


@pytest.mark.parametrize("mode", ["thread", "process"])
def test_a_reload_of_a_slow_plugin_leaves_the_rest_to_the_new_one(
    manager, compile_plugin, tmp_path, mode
) -> None:
    recorder = Recorder(compile_plugin, tmp_path)
    config = recorder.config(mode=mode, event_ms=100, unload_timeout=3)
    manager.load_plugin(config)
    manager.broadcast_many([small(height) for height in range(1, 51)])
    recorder.wait_for("event")
    manager.reload_plugin("recorder", config)  # all of them would take 5 seconds
    before = recorder.calls.index("unload")
    manager.flush(240)
    assert recorder.ordinals == list(range(1, 51))
    assert 0 < sum(call == "event" for call in recorder.calls[:before]) < 50
    assert {line["attempt"] for line in recorder.events} == {1}
