"""Thread mode: a plugin on its own thread, behind a ring; and who broadcasts into it."""

from __future__ import annotations

import gc
import os
import random
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from gated import Gated, Told, wait_until
from process_tools import Footprint, Growth, instance_threads, mapped_copies, run_python
from recorded import BATCH, EXPLICIT_ACK, GAP, MULTI, PROMPT, Recorder
from slipstream import (
    Block,
    BroadcastError,
    ClosedError,
    ConfigError,
    EventKind,
    FlushTimeout,
    GapReason,
    MappingUpdate,
    Payload,
    PluginFailed,
    PluginLoadError,
    PluginManager,
    PluginStartError,
    frames,
)
from slipstream.capture import read_frames, read_header
from slipstream.testing import RecordingPlugin

HERE = Path(__file__).parent
RING = 64 * 1024
HELD = 15
BLOCK = 1 << 3
THREAD = {"mode": "thread", "ring_bytes": RING}


def page(height: int) -> bytes:
    """An event whose frame takes 4,096 bytes; a ring of 64 KiB holds HELD of them."""
    return frames.encode(Block(bytes(4032), height))


def small(height: int) -> bytes:
    return frames.encode(Block(b"b", height))


def heights_in(capture: Path) -> list[int]:
    with capture.open("rb") as file:
        read_header(file, str(capture))
        return [frames.decode(frame)[0].block_height for frame in read_frames(file, str(capture))]


# ---- The interpreter lock and signals ----------------------------------------------------


def test_others_run_while_a_broadcast_waits_for_room(manager, compile_plugin, tmp_path) -> None:
    gated = Gated(compile_plugin, tmp_path)
    gated.let_pass(0)
    plugin = manager.load_plugin(gated.config(**THREAD, block_timeout=240))
    sender = threading.Thread(
        target=manager.broadcast_many, args=([page(height) for height in range(40)],)
    )
    sender.start()
    gated.wait_at_gate()
    wait_until(lambda: plugin.counters.broadcast >= HELD, "the ring is not full")
    count = 0
    while count < 1_000_000:  # it would hang here, until the sender had waited long enough
        count += 1
    assert sender.is_alive()
    gated.open()
    sender.join(240)
    manager.flush(240)
    assert gated.order == list(range(1, 41))


def test_a_large_event_is_copied_without_the_interpreter_lock(
    manager, compile_plugin, tmp_path
) -> None:
    """A plugin whose ring is full of one large event blocks nobody's Python."""
    gated = Gated(compile_plugin, tmp_path)
    gated.let_pass(0)
    manager.load_plugin(gated.config(mode="thread", ring_bytes=4 << 20, block_timeout=240))
    data = bytes(3 << 20)
    sender = threading.Thread(target=lambda: [manager.block(data, i) for i in range(4)])
    sender.start()
    gated.wait_at_gate()
    time.sleep(0.1)
    assert sender.is_alive()
    gated.open()
    sender.join(240)
    manager.flush(240)
    assert [event.height for event in gated.events] == [0, 1, 2, 3]


INTERRUPTED = """
import os, signal, sys, threading, time
from pathlib import Path
from slipstream import Block, PluginManager, frames
library, folder, how = sys.argv[1], Path(sys.argv[2]), sys.argv[3]
gate = folder / "gate"
gate.write_text("0")
manager = PluginManager(insecure_paths=True, log_level="error")
plugin = manager.load_plugin({
    "libpath": library, "mode": "thread", "ring_bytes": 65536, "block_timeout": 240,
    "log": str(folder / "log"), "gate": str(gate), "waiting": str(folder / "waiting"),
})
page = lambda height: frames.encode(Block(bytes(4032), height))
def handler(number, frame):
    manager.broadcast(page(99))  # kept until the outer call has ended
    raise KeyboardInterrupt
if how == "handler":
    signal.signal(signal.SIGINT, handler)
when = []
def interrupt():
    while plugin.counters.broadcast < 15:
        time.sleep(0.001)  # until its ring is full
    time.sleep(0.4)
    when.append(time.monotonic())
    os.kill(os.getpid(), signal.SIGINT)
threading.Thread(target=interrupt).start()
try:
    if how == "many":
        manager.broadcast_many([page(height) for height in range(1, 101)])
    elif how == "frames":
        manager.broadcast_frames(b"".join(page(height) for height in range(1, 101)))
    else:
        for one in [page(height) for height in range(1, 101)]:
            manager.broadcast(one)
except KeyboardInterrupt:
    late = time.monotonic() - when[0]
gate.unlink()
manager.flush(240)
(folder / "result").write_text(f"{late} {plugin.state}")
manager.close()
"""


@pytest.mark.parametrize("how", ["single", "many", "frames", "handler"])
def test_ctrl_c_ends_the_wait_and_what_is_lost_is_told(compile_plugin, tmp_path, how) -> None:
    gated = Gated(compile_plugin, tmp_path)
    gated.log = tmp_path / "log"
    done = run_python(INTERRUPTED, gated.library, tmp_path, how)
    assert done.returncode == 0, done.stderr
    late, state = (tmp_path / "result").read_text().split()
    assert float(late) < 200, "it waited for room all the same"
    assert state == "running"
    last = {"single": 16, "many": 100, "frames": 100, "handler": 17}[how]
    gaps = gated.gaps
    assert [gap.first for gap in gaps] == [16]
    assert gaps[0].last == last
    assert gaps[0].reason == GapReason.BLOCK_TIMEOUT
    assert gated.order == [*range(1, 16), gaps[0]]


# ---- Several broadcasters ----------------------------------------------------------------


class Echo(RecordingPlugin):
    """Broadcasts again what it gets, a few times."""

    def __init__(self, name: str, kinds: set[EventKind], manager: PluginManager) -> None:
        super().__init__(name, kinds)
        self.manager = manager
        self.sent = 0

    def on_broadcast(self, event: object) -> None:
        super().on_broadcast(event)
        if isinstance(event, Block) and event.block_height % 10 == 0 and self.sent < 300:
            self.sent += 1
            self.manager.broadcast(Payload(b"echo", bytes(3000)))


def sequences(lines: list[dict]) -> list[int]:
    return [line["sequence"] for line in lines if line["kind"] != GAP]


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_several_threads_broadcast_at_once(manager, compile_plugin, tmp_path, seed) -> None:
    """All plugins see one order, with dense ordinals, and nothing is lost."""
    rng = random.Random(seed)
    threads = [
        Recorder(compile_plugin, tmp_path, name=f"thread{flags}", flags=flags)
        for flags in (0, BATCH, EXPLICIT_ACK)
    ]
    slow = Recorder(compile_plugin, tmp_path, name="inline", flags=0)
    for recorder in threads:
        manager.load_plugin(recorder.config(**THREAD, block_timeout=240, flush_interval=0.2))
    manager.load_plugin(slow.config(mode="inline"))
    echo = Echo("echo", {EventKind.BLOCK, EventKind.PAYLOAD, EventKind.MAPPING_UPDATE}, manager)
    manager.install(echo)
    problems: list[BaseException] = []
    count = 150
    ways: dict[str, Callable[[int], object]] = {
        "values": lambda h: manager.mapping_update(b"p", b"m", b"k", bytes(900), h),
        "single": lambda h: manager.broadcast(Block(bytes(2000), h)),
        "many": lambda h: manager.broadcast_many([Block(b"1", h), page(h), small(h)]),
        "frames": lambda h: manager.broadcast_frames(small(h) * 3 + page(h)),
    }

    def send(style: str, number: int) -> None:
        try:
            for i in range(count):
                ways[style](number * 10_000 + i)
        except Exception as error:  # noqa: BLE001 - all of them are told
            problems.append(error)

    styles = ["values", "single", "many", "frames", "single", "values"]
    rng.shuffle(styles)
    senders = [
        threading.Thread(target=send, args=pair) for pair in zip(styles, range(6), strict=True)
    ]
    for sender in senders:
        sender.start()
    for sender in senders:
        sender.join(240)
        assert not sender.is_alive(), "deadlock"
    assert problems == []
    manager.flush(240)
    total = count * (1 + 1 + 1 + 1 + 3 + 4) + echo.sent
    assert echo.sent > 0
    first = sequences(slow.events)
    assert len(first) == total
    assert first == sorted(first)
    for recorder in threads:
        assert sequences(recorder.events) == first, recorder.name
        ordinals = [line["ordinal"] for line in recorder.events]
        assert ordinals == list(range(1, total + 1)), recorder.name
        counters = manager.plugins[recorder.name].counters
        assert (counters.broadcast, counters.delivered) == (total, total)
        assert (counters.failed, counters.dropped, counters.acknowledged) == (0, 0, total)
    assert [event.meta.sequence for event in echo.events] == first


def test_a_callback_that_broadcasts_into_a_full_ring(manager, compile_plugin, tmp_path) -> None:
    gated = Gated(compile_plugin, tmp_path)
    gated.let_pass(0)
    plugin = manager.load_plugin(gated.config(**THREAD, block_timeout=240))

    class Many(RecordingPlugin):
        def on_broadcast(self, event: object) -> None:
            super().on_broadcast(event)
            if isinstance(event, Block) and event.block_height == 1:
                for i in range(40):
                    manager.broadcast(Payload(b"more", bytes(4000), b"", 100 + i))
                manager.route(Payload(b"nobody", b""))

    manager.install(Many("many", {EventKind.BLOCK}))
    sender = threading.Thread(target=manager.broadcast, args=(page(1),))
    sender.start()
    gated.wait_at_gate()
    time.sleep(0.1)
    assert sender.is_alive()
    assert plugin.counters.broadcast < 20
    gated.open()
    sender.join(240)
    manager.flush(240)
    assert [event.height for event in gated.events] == [1, *range(100, 140)]


def test_control_gets_its_turn_beside_a_busy_broadcaster(manager, compile_plugin, tmp_path) -> None:
    gated = Gated(compile_plugin, tmp_path)
    manager.load_plugin(gated.config(**THREAD, block_timeout=240, buffered=1, gate=""))
    stop = threading.Event()
    run = [page(height) for height in range(2000)]

    def send() -> None:
        while not stop.is_set():
            manager.broadcast_many(run)

    sender = threading.Thread(target=send)
    sender.start()
    try:
        time.sleep(0.2)
        recorder = Recorder(compile_plugin, tmp_path)
        for _ in range(5):  # an error if it takes longer than the manager's wait_timeout
            manager.load_plugin(recorder.config(**THREAD, overflow="drop_newest"))
            manager.unload_plugin("recorder", 5)
    finally:
        stop.set()
        sender.join(240)


# ---- What a plugin answers ---------------------------------------------------------------


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
    dropped = plugin.counters.dropped
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
    assert (counters.delivered, counters.failed, counters.acknowledged) == (2, 0, 2)


def test_refused_events_are_kept_as_dead_letters(manager, compile_plugin, tmp_path) -> None:
    recorder = Recorder(compile_plugin, tmp_path)
    letters = tmp_path / "dead.slip"
    plugin = manager.load_plugin(
        recorder.config(**THREAD, statuses=[0, -1, 0, *[-2] * 5], dead_letter=str(letters))
    )
    manager.broadcast_many([small(height) for height in range(1, 7)])
    manager.flush(240)
    counters = plugin.counters
    assert (counters.broadcast, counters.delivered, counters.failed) == (6, 4, 2)
    assert (counters.dropped, counters.acknowledged) == (0, 6)
    assert str(plugin.state) == "running"
    manager.unload_plugin("recorder")
    assert heights_in(letters) == [2, 4]


def test_a_flush_that_fails_is_told(manager, compile_plugin, tmp_path) -> None:
    recorder = Recorder(compile_plugin, tmp_path, flags=EXPLICIT_ACK)
    manager.load_plugin(recorder.config(**THREAD, flush_status=-13, flush_interval=600))
    manager.broadcast(small(1))
    with pytest.raises(FlushTimeout, match=r"acknowledged 0 of 1: its flush failed \(IO"):
        manager.flush(240)


def test_a_stuck_callback(compile_plugin, tmp_path) -> None:
    gated = Gated(compile_plugin, tmp_path)
    gated.let_pass(0)
    with PluginManager(insecure_paths=True) as manager:
        config = gated.config(**THREAD, callback_timeout=0.2, unload_timeout=0.3)
        plugin = manager.load_plugin(config)
        for height in range(1, 4):
            manager.broadcast(small(height))
        gated.wait_at_gate()
        wait_until(lambda: str(plugin.state) == "failed", "nobody sees that it is stuck")
        assert "stuck" in plugin.reason
        with pytest.raises(FlushTimeout, match=r"gated \(failed\): acknowledged 0 of 3.*stuck"):
            manager.flush(240)
        with pytest.raises(PluginFailed, match="stuck in a callback"):
            manager.reload_plugin("gated", config)
        with capture_logs() as logs:
            manager.unload_plugin("gated", 0.5)
        problem = next(line["problem"] for line in logs if "problem" in line)
        assert "did not return" in problem
        assert "3 events were not acknowledged" in problem
        assert str(plugin.state) == "unloaded"
        assert plugin.counters.broadcast == 3
        gated.open()  # it returns after all: then it is unloaded
        wait_until(lambda: gated.of("unload"), "it was not unloaded")
        wait_until(lambda: mapped_copies() == set(), "it was not unmapped")


def test_a_stuck_callback_that_returns_goes_on(manager, compile_plugin, tmp_path) -> None:
    gated = Gated(compile_plugin, tmp_path)
    gated.let_pass(0)
    config = gated.config(**THREAD, callback_timeout=0.2, unload_timeout=60)
    plugin = manager.load_plugin(config)
    for height in range(1, 4):
        manager.broadcast(small(height))
    gated.wait_at_gate()
    with pytest.raises(PluginFailed, match="stuck in a callback"):
        manager.reload_plugin("gated", config)
    gated.open()
    manager.broadcast(small(4))
    wait_until(lambda: plugin.counters.acknowledged == 4, "it does not go on")
    assert str(plugin.state) == "running"
    assert gated.order == [1, 2, 3, 4]
    manager.reload_plugin("gated", config)
    manager.broadcast(small(5))
    manager.flush(240)
    assert gated.order == [1, 2, 3, 4, 5]


def test_the_log_tells_of_a_stuck_callback(manager, compile_plugin, tmp_path) -> None:
    gated = Gated(compile_plugin, tmp_path)
    gated.let_pass(0)
    with capture_logs() as logs:
        manager.load_plugin(gated.config(**THREAD, callback_timeout=0.2))
        manager.broadcast(small(1))
        wait_until(lambda: any(line["event"] == "plugin is stuck" for line in logs), "not told")
        gated.open()
        wait_until(lambda: "plugin is not stuck any more" in [line["event"] for line in logs], "")
    told = [line for line in logs if line["event"] == "plugin is stuck"]
    assert [(line["plugin"], line["ordinal"]) for line in told] == [("gated", 1)]


STUCK_AT_EXIT = """
import sys
from pathlib import Path
from slipstream import Block, PluginManager
library, folder = sys.argv[1], Path(sys.argv[2])
(folder / "gate").write_text("0")
manager = PluginManager(insecure_paths=True)
manager.load_plugin({"libpath": library, "mode": "thread", "log": str(folder / "log"),
    "gate": str(folder / "gate"), "waiting": str(folder / "waiting"), "callback_timeout": 0.1})
manager.broadcast(Block(b"", 1))
while not (folder / "waiting").exists():
    pass
if sys.argv[3] == "unload":
    manager.unload_plugin("gated", 0.3)
print("bye")
"""


@pytest.mark.parametrize("how", ["unload", "leave it"])
def test_the_interpreter_ends_although_a_callback_is_stuck(compile_plugin, tmp_path, how) -> None:
    gated = Gated(compile_plugin, tmp_path)
    done = run_python(STUCK_AT_EXIT, gated.library, tmp_path, how)
    assert done.returncode == 0, done.stderr
    assert "bye" in done.stdout


@pytest.mark.parametrize("mode", ["thread", "process"])
def test_an_unload_that_is_too_slow_writes_down_what_is_left(
    manager, compile_plugin, tmp_path, mode
) -> None:
    recorder = Recorder(compile_plugin, tmp_path)
    manager.load_plugin(recorder.config(mode=mode, event_ms=50))
    manager.broadcast_many([small(height) for height in range(1, 101)])
    wait_until(lambda: recorder.events, "it does not begin")
    with capture_logs() as logs:
        manager.unload_plugin("recorder", 0.5)
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
    manager.unload_plugin("gated", 0.5)
    assert gated.order == [1]
    assert gated.of("unload")
    (left,) = (tmp_path / "data" / "gated").glob("undelivered-*.slip")
    assert heights_in(left) == [2]


# ---- Reloading ---------------------------------------------------------------------------


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
    assert (counters.broadcast, counters.delivered) == (sent, sent)
    assert (counters.failed, counters.dropped, counters.acknowledged) == (0, 0, sent)
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
    assert (after.broadcast, after.delivered, after.callbacks_timed) == (11, 11, 11)
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
    assert (counters.broadcast, counters.delivered, counters.dropped) == (21, 21, 0)
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
    config = recorder.config(mode=mode, event_ms=100, unload_timeout=0.3)
    manager.load_plugin(config)
    manager.broadcast_many([small(height) for height in range(1, 51)])
    recorder.wait_for("event")
    manager.reload_plugin("recorder", config)  # all of them would take 5 seconds
    before = recorder.calls.index("unload")
    manager.flush(240)
    assert recorder.ordinals == list(range(1, 51))
    assert 0 < sum(call == "event" for call in recorder.calls[:before]) < 50
    assert {line["attempt"] for line in recorder.events} == {1}


# ---- The end -----------------------------------------------------------------------------


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
        assert told == list(range(1, counters.broadcast + 1))
        assert counters.broadcast == counters.delivered + counters.dropped
        assert counters.acknowledged == counters.broadcast


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
                    assert counters.acknowledged <= counters.broadcast
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


def test_an_inline_plugin_beside_full_rings(manager, compile_plugin, tmp_path) -> None:
    """The order of an inline plugin and of rings is one, also while a ring is waited for."""
    gated = Gated(compile_plugin, tmp_path)
    gated.let_pass(3)
    inline = Recorder(compile_plugin, tmp_path, flags=PROMPT)
    manager.load_plugin(gated.config(**THREAD, block_timeout=240))
    manager.load_plugin(inline.config(mode="inline"))
    sender = threading.Thread(
        target=lambda: [manager.broadcast(page(height)) for height in range(1, 31)]
    )
    sender.start()
    gated.wait_at_gate()
    wait_until(lambda: len(inline.events) == HELD + 4, "the inline plugin waits for the other")
    gated.open()
    sender.join(240)
    manager.flush(240)
    assert gated.order == inline.ordinals == list(range(1, 31))


def test_a_signal_is_not_lost_by_another_thread_that_waits(compile_plugin, tmp_path) -> None:
    """SIGINT while another thread waits for room: the main thread gets it at once."""
    code = f"""
import os, signal, sys, threading, time
from slipstream import Block, PluginManager, frames
open({str(tmp_path / "g")!r}, "w").write("0")
manager = PluginManager(insecure_paths=True, log_level="error")
plugin = manager.load_plugin({{"libpath": sys.argv[1], "mode": "thread", "ring_bytes": 65536,
    "block_timeout": 240, "log": {str(tmp_path / "l")!r}, "gate": {str(tmp_path / "g")!r},
    "waiting": {str(tmp_path / "w")!r}}})
def send():
    for i in range(16):
        manager.block(bytes(4032), i)
threading.Thread(target=send).start()
while plugin.counters.broadcast < 15 or not os.path.exists({str(tmp_path / "w")!r}):
    time.sleep(0.001)  # until its ring is full
start = time.monotonic()
try:
    threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGINT)).start()
    while True:
        manager.block(b"", 99)  # waits for the sequencer
except KeyboardInterrupt:
    print("interrupted", time.monotonic() - start < 200)
os.unlink({str(tmp_path / "g")!r})
manager.close()
"""
    gated = Gated(compile_plugin, tmp_path)
    done = run_python(code, gated.library)
    assert done.returncode == 0, done.stderr
    assert "interrupted True" in done.stdout


def test_random_load_for_a_while() -> None:
    """The short form of tests/stress/threads.py."""
    done = subprocess.run(
        [sys.executable, str(HERE / "stress" / "threads.py"), "--seconds", "6", "--seed", "1"],
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "0 problems" in done.stdout


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
        assert plugin.counters.acknowledged == plugin.counters.broadcast == 3100
