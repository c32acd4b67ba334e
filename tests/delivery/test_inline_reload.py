"""Inline delivery: acknowledgement, reloads, and many threads."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections import Counter

import pytest

from slipstream import (
    Block,
    EventKind,
    PluginFailed,
    PluginLoadError,
    PluginManager,
    PluginStartError,
    PluginState,
    frames,
)
from slipstream.testing import RecordingPlugin
from support.gated import wait_until
from support.process_tools import Footprint, mapped_copies
from support.recorded import BATCH, EXPLICIT_ACK, GAP, MULTI, PROMPT, SOME, Recorder

PAUSED, RELOADING = 32, 64


def blocks(first: int, last: int) -> list[Block]:
    return [Block(b"block", height) for height in range(first, last + 1)]


# ---- Acknowledgement ------------------------------------------------------------------------------------


def test_explicit_acknowledgement(manager, compile_plugin, tmp_path) -> None:
    by_flush = Recorder(compile_plugin, tmp_path, name="by-flush", flags=EXPLICIT_ACK)
    by_ack = Recorder(compile_plugin, tmp_path, name="by-ack", flags=EXPLICIT_ACK | BATCH)
    flushing = manager.load_plugin(by_flush.config(statuses=[2, 0, -1]))
    acking = manager.load_plugin(by_ack.config(ack=1))
    manager.broadcast_many(SOME)
    assert (flushing.counters.acknowledged, flushing.counters.lag) == (0, 5)
    assert (acking.counters.acknowledged, acking.counters.lag) == (5, 0)
    manager.flush()
    assert flushing.counters.lag == 0
    manager.block(b"", 1)
    manager.unload_plugin("by-flush")
    assert flushing.counters.acknowledged == 6  # flushed on the way out
    assert by_flush.calls[-3:] == ["flush", "unload", "destroy"]


# ---- Reload -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["replace", "overlap"])
@pytest.mark.parametrize("explicit", [0, EXPLICIT_ACK], ids=["plain", "explicit"])
def test_reload(manager, compile_plugin, tmp_path, how, explicit) -> None:
    flags = MULTI | explicit
    old = Recorder(compile_plugin, tmp_path, flags=flags, version="old")
    new = Recorder(compile_plugin, tmp_path, flags=flags, version="new")
    plugin = manager.load_plugin(old.config(reload=how))
    manager.broadcast_many(blocks(1, 3))
    again = manager.reload_plugin("recorder", new.config(reload=how, number=5))
    assert again is plugin
    manager.broadcast_many(blocks(4, 5))
    manager.flush()
    calls = [(line["call"], line.get("version")) for line in new.lines]
    calls = [c for c in calls if c[0] in {"load", "unload", "destroy"}]
    order = [("load", "new"), ("unload", "old"), ("destroy", None)]
    if how == "replace":
        order = [("unload", "old"), ("load", "new"), ("destroy", None)]
    assert calls == [("load", "old"), *order]
    assert [(e["version"], e["ordinal"]) for e in new.events] == [
        *(("old", i) for i in (1, 2, 3)),
        *(("new", i) for i in (4, 5)),
    ]
    loads = [line for line in new.lines if line["call"] == "load"]
    assert [line["reason"] for line in loads] == [0, 1]
    assert loads[1]["config"]["number"] == 5
    assert loads[1]["config"]["name"] == "recorder"
    counters = plugin.counters
    assert (counters.accepted, counters.delivered, counters.acknowledged) == (5, 5, 5)
    assert plugin.version == "new"
    assert plugin.path == new.library
    assert len(mapped_copies()) == 1


def test_reload_reads_its_file_again(manager, compile_plugin, tmp_path) -> None:
    native = Recorder(compile_plugin, tmp_path)
    file = tmp_path / "recorder.json5"
    text = f'{{ libpath: "{native.library}", log: "{native.log}", mark: 1 }}'
    file.write_text(text)
    manager.load_plugin(file)
    file.write_text(text.replace("mark: 1", "mark: 2"))
    manager.reload_plugin("recorder")
    loads = [line["config"]["mark"] for line in native.lines if line["call"] == "load"]
    assert loads == [1, 2]
    file.write_text("{")
    with pytest.raises(Exception, match="recorder.json5:1"):
        manager.reload_plugin("recorder")
    manager.block(b"", 1)
    assert native.ordinals == [1]


def test_a_refused_new_version_leaves_the_old_one_alone(manager, compile_plugin, tmp_path) -> None:
    native = Recorder(compile_plugin, tmp_path)
    plugin = manager.load_plugin(native.config())
    manager.block(b"", 1)
    before = Footprint.now()
    (tmp_path / "bad.so").write_bytes(b"nothing")
    with pytest.raises(PluginLoadError):
        manager.reload_plugin("recorder", {"libpath": str(tmp_path / "bad.so")})
    with pytest.raises(PluginLoadError, match="overlap needs a plugin with the flag MULTI"):
        manager.reload_plugin("recorder", native.config(reload="overlap"))
    assert Footprint.now() == before
    manager.block(b"", 2)
    assert native.calls == ["load", "event", "event"]
    assert native.ordinals == [1, 2]
    assert plugin.counters.lost == 0


@pytest.mark.parametrize("how", ["replace", "overlap"])
def test_a_new_version_that_does_not_start(manager, compile_plugin, tmp_path, how) -> None:
    flags = MULTI
    old = Recorder(compile_plugin, tmp_path, flags=flags, version="old")
    new = Recorder(compile_plugin, tmp_path, flags=flags, version="new")
    plugin = manager.load_plugin(old.config(reload=how, mark="kept"))
    manager.block(b"", 1)
    for _ in range(3):
        with pytest.raises(PluginStartError, match="told to fail"):
            manager.reload_plugin("recorder", new.config(reload=how, load_status=-1))
        assert plugin.state is PluginState.RUNNING
        assert plugin.version == "old"
        assert len(mapped_copies()) == 1
    manager.block(b"", 2)
    assert [(e["version"], e["ordinal"]) for e in new.events] == [("old", 1), ("old", 2)]
    loads = [line for line in new.lines if line["call"] == "load" and line["version"] == "old"]
    restarts = 0 if how == "overlap" else 3
    assert [line["reason"] for line in loads] == [0] + [1] * restarts
    assert {line["config"]["mark"] for line in loads} == {"kept"}
    assert manager._pump.names == {plugin.delivery.present.log_id: "recorder"}


def test_neither_version_starts(manager, compile_plugin, tmp_path) -> None:
    native = Recorder(compile_plugin, tmp_path)
    once = tmp_path / "once"
    once.mkdir()
    native.log = once / "log"  # the log's folder goes away: then on_load cannot write either
    plugin = manager.load_plugin(native.config(load_status=0))
    manager.block(b"", 1)
    secret = tmp_path / "secret"
    secret.write_text("0")
    # The old one is started again with the very JSON that it had; make its library refuse.
    present = plugin.delivery.present
    settled, data_dir = present.loaded_with
    broken = settled.replace(b'"load_status":0', b'"load_status":-5')
    present.loaded_with = (broken, data_dir)
    with pytest.raises(PluginFailed) as caught:
        manager.reload_plugin("recorder", native.config(load_status=-6))
    assert "the new version was not started" in caught.value.message
    assert "the old one could not be started again" in caught.value.message
    assert plugin.state is PluginState.FAILED
    assert "neither version could be started" in plugin.reason
    assert not any(map(manager.has_subscribers, EventKind))
    manager.block(b"", 2)
    assert plugin.counters.accepted == 1
    manager.reload_plugin("recorder", native.config())
    assert plugin.state is PluginState.RUNNING
    manager.block(b"", 3)
    assert native.ordinals == [1, 2]
    manager.unload_plugin("recorder")
    assert mapped_copies() == set()


@pytest.mark.parametrize("moment", ["in flush", "in on_unload", "in on_load"])
def test_ctrl_c_during_a_reload_leaves_the_old_version(
    manager, compile_plugin, tmp_path, moment
) -> None:
    native = Recorder(compile_plugin, tmp_path, flags=EXPLICIT_ACK)
    hold = tmp_path / "hold.flush"
    more = {
        "in flush": {"hold": str(tmp_path / "hold")}, "in on_unload": {"unload_ms": 800}, "in on_load": {},
    }[moment]  # fmt: skip
    config = native.config(**more)
    plugin = manager.load_plugin(config)
    manager.block(b"", 1)
    hold.touch()
    timer = threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGINT))
    timer.start()
    with pytest.raises(KeyboardInterrupt):
        manager.reload_plugin("recorder", {**config, "load_ms": 800})
    timer.join()
    if moment == "in flush":  # which goes on: calls into one plugin do not overlap
        assert plugin.state is PluginState.PAUSED
        hold.unlink()
        wait_until(lambda: not plugin.delivery.present.is_stuck(), "its flush does not return")
        manager.resume("recorder")
    assert plugin.state is PluginState.RUNNING
    manager.block(b"", 2)
    assert native.ordinals == [1, 2]
    manager.reload_plugin("recorder", native.config())
    manager.block(b"", 3)
    manager.unload_plugin("recorder")
    assert native.ordinals == [1, 2, 3]
    wait_until(lambda: mapped_copies() == set(), "a version stays mapped")


def test_a_paused_plugin_stays_paused_over_a_reload(manager, compile_plugin, tmp_path) -> None:
    native = Recorder(compile_plugin, tmp_path)
    plugin = manager.load_plugin(native.config())
    manager.pause("recorder")
    manager.block(b"", 1)
    manager.reload_plugin("recorder", native.config())
    assert plugin.state is PluginState.PAUSED
    manager.block(b"", 2)
    manager.resume("recorder")
    (gap,) = native.events
    assert gap["gap"] == [PAUSED, 1, 2, 2, 8, 1, 2]


def test_events_during_a_slow_reload_become_a_gap(manager, compile_plugin, tmp_path) -> None:
    native = Recorder(compile_plugin, tmp_path)
    plugin = manager.load_plugin(native.held_config())
    sent = 0
    stop = threading.Event()
    states = set()
    native.hold("load")

    def fire() -> None:
        nonlocal sent
        while not stop.is_set():
            sent += 1
            manager.block(b"", sent)
            states.add(plugin.state)
            time.sleep(0.001)

    thread = threading.Thread(target=fire)

    def let_go() -> None:
        native.wait_until_held("load")
        before = sent
        wait_until(lambda: sent > before + 25, "nobody sends while it loads")
        native.release("load")

    thread.start()
    helper = threading.Thread(target=let_go)
    helper.start()
    wait_until(lambda: sent > 5, "nobody sends")
    manager.reload_plugin("recorder", native.held_config())
    helper.join()
    after = sent
    wait_until(lambda: sent > after + 5, "nobody sends any more")
    stop.set()
    thread.join()
    gaps = [e for e in native.events if e["kind"] == GAP]
    assert len(gaps) == 1
    reasons, first, last, count, kinds, first_height, last_height = gaps[0]["gap"]
    assert (reasons, kinds, gaps[0]["ordinal"]) == (RELOADING, 8, last)
    assert count == last - first + 1 > 20
    assert (first_height, last_height) == (first, last)
    seen = [e["ordinal"] for e in native.events if e["kind"] != GAP]
    assert seen == [*range(1, first), *range(last + 1, sent + 1)]
    assert plugin.counters.lost == count
    assert plugin.counters.delivered == sent - count
    assert PluginState.LOADING in states


# ---- Many threads ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("flags", [PROMPT, 0, BATCH], ids=["prompt", "blocking", "batch"])
def test_broadcasts_of_several_threads(manager, compile_plugin, tmp_path, flags) -> None:
    native = Recorder(compile_plugin, tmp_path, flags=flags)
    python = RecordingPlugin("python")
    manager.load_plugin(native.config())
    manager.install(python)
    frame = frames.encode(Block(b"x" * 300, 5))

    def send(number: int) -> None:
        for i in range(100):
            manager.mapping_update(b"p", b"m", bytes([number]), b"v", i)
            manager.broadcast(Block(b"", i))
            manager.broadcast_many([frame] * 3)
            manager.broadcast_frames(frame * 80)

    threads = [threading.Thread(target=send, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(240)
    total = 4 * 100 * 85
    assert native.ordinals == list(range(1, total + 1))
    assert [e["sequence"] for e in native.events] == list(range(1, total + 1))
    assert len({e["stream"] for e in native.events}) == 1
    assert [e.meta.sequence for e in python.events] == list(range(1, total + 1))
    for number in range(4):
        mine = [e for e in python.events if getattr(e, "key", None) == bytes([number])]
        assert [e.block_height for e in mine] == list(range(100))


def test_loads_and_unloads_under_fire(manager, compile_plugin, tmp_path, examples) -> None:
    steady = Recorder(compile_plugin, tmp_path, name="steady")
    other = Recorder(compile_plugin, tmp_path, name="other", flags=MULTI)
    manager.load_plugin(steady.config())
    stop = threading.Event()
    sent = [0, 0]

    def fire(which: int) -> None:
        while not stop.is_set():
            manager.broadcast_frames(frames.encode(Block(b"", which)) * 10)
            sent[which] += 10

    threads = [threading.Thread(target=fire, args=(n,)) for n in range(2)]
    for thread in threads:
        thread.start()
    for i in range(30):
        manager.load_plugin(other.config())
        assert manager.plugins["other"].state is PluginState.RUNNING
        assert isinstance(manager.plugins["other"].metrics, list)
        if i % 3 == 0:
            manager.reload_plugin("other", other.config(reload="overlap"))
        if i % 3 == 1:
            manager.pause("other")
        manager.unload_plugin("other")
    stop.set()
    for thread in threads:
        thread.join(240)
    assert steady.ordinals == list(range(1, sum(sent) + 1))
    assert Counter(e["height"] for e in steady.events) == {0: sent[0], 1: sent[1]}
    assert other.calls.count("unload") == other.calls.count("load") == 40
    assert len(mapped_copies()) == 1


def test_numbers_may_be_asked_for_at_any_time(manager, compile_plugin, tmp_path) -> None:
    native = Recorder(compile_plugin, tmp_path, flags=MULTI)
    plugin = manager.load_plugin(native.config())
    stop = threading.Event()
    wrong: list[BaseException] = []

    def ask() -> None:
        while not stop.is_set():
            try:
                assert plugin.counters.accepted >= plugin.counters.delivered * 0
                assert plugin.state
                assert plugin.metrics == []
                assert repr(plugin)
            except BaseException as error:  # noqa: BLE001 - shown below
                wrong.append(error)
                return

    threads = [threading.Thread(target=ask) for _ in range(2)]
    for thread in threads:
        thread.start()
    for i in range(60):
        manager.reload_plugin("recorder", native.config(reload=("replace", "overlap")[i % 2]))
        manager.block(b"", i)
    manager.unload_plugin("recorder")
    stop.set()
    for thread in threads:
        thread.join(240)
    assert wrong == []
    assert native.ordinals == list(range(1, 61))


def test_managers_do_not_know_of_each_other(compile_plugin, tmp_path) -> None:
    with PluginManager() as one, PluginManager() as two:
        a, b = RecordingPlugin(), RecordingPlugin()
        one.install(a)
        two.install(b)
        a.on_event = lambda _event: two.block(b"from one", 1)
        one.block(b"", 0)
        assert [e.block for e in b.events] == [b"from one"]
        assert b.events[0].meta.stream != a.events[0].meta.stream
