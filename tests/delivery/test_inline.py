"""Inline delivery, seen from plugins: order, gaps, failures, reloads, and many threads."""

from __future__ import annotations

import os
import threading
import time
from collections import Counter

import pytest

from slipstream import (
    AppEvent,
    Block,
    EventKind,
    FlushTimeout,
    Gap,
    GapReason,
    MappingUpdate,
    Meta,
    Payload,
    PluginState,
    frames,
)
from slipstream._native import lib
from slipstream.capture import read_frames, read_header
from slipstream.testing import RecordingPlugin
from support.gated import wait_until
from support.letters import letters_in
from support.logs import capture_logs
from support.recorded import BATCH, EXPLICIT_ACK, GAP, NONE, PROMPT, SOME, Recorder

PAUSED, RELOADING = 32, 64


def blocks(first: int, last: int) -> list[Block]:
    return [Block(b"block", height) for height in range(first, last + 1)]


# ---- What is delivered -----------------------------------------------------------------------


def test_every_kind_arrives_in_order(manager, compile_plugin, tmp_path) -> None:
    native = Recorder(compile_plugin, tmp_path)
    python = RecordingPlugin("python", [0, 2, 3, 4, 40])
    manager.load_plugin(native.config())
    manager.install(python)
    before = time.time_ns()
    for event in SOME:
        manager.broadcast(event)
    assert manager.broadcast_many(tuple(SOME)) == 5
    run = b"".join(frames.encode(event) for event in SOME)
    assert manager.broadcast_frames(bytearray(run)) == 5
    after = time.time_ns()
    events = native.events
    assert [e["kind"] for e in events] == [0, 2, 3, 4, 40] * 3
    assert [e["height"] for e in events] == [1, 2, NONE, NONE, 9] * 3
    assert native.ordinals == list(range(1, 16))
    assert len({e["stream"] for e in events}) == 1
    assert [e["sequence"] for e in events] == list(range(1, 16))
    assert all(before <= e["time"] <= after for e in events)
    assert {(e["attempt"], e["count"], e["flags"]) for e in events} == {(1, 1, 0)}
    assert [e.meta.sequence for e in python.events] == list(range(1, 16))
    assert len(python.events) == 15
    for event, sent in zip(python.events, SOME * 3, strict=True):
        assert event.__class__ is sent.__class__
        assert event.block_height == sent.block_height


def test_given_stamps_are_kept(manager, compile_plugin, tmp_path) -> None:
    native = Recorder(compile_plugin, tmp_path)
    manager.load_plugin(native.config())
    given = Meta(stream=7, sequence=99, time_ns=-5, flags=1)
    manager.broadcast(Block(b"", 1, given))
    manager.broadcast(Block(b"", 1, Meta(stream=7, sequence=100)))
    manager.broadcast(Block(b"", 1, Meta(time_ns=12)))
    first, second, third = native.events
    assert [first[k] for k in ("stream", "sequence", "time", "flags")] == [7, 99, -5, 1]
    assert (second["stream"], second["sequence"]) == (7, 100)
    assert second["time"] > 0
    assert (third["sequence"], third["time"]) == (1, 12)


def test_kinds_that_nobody_wants_are_not_even_encoded(manager, compile_plugin, tmp_path) -> None:
    native = Recorder(compile_plugin, tmp_path, kinds="0x8")
    plugin = manager.load_plugin(native.config())
    assert [k for k in range(64) if manager.has_subscribers(k)] == [EventKind.BLOCK]
    manager.broadcast(MappingUpdate(b"no", b"bytes", b"are", b"copied", "no height"))
    manager.mapping_update(b"no", b"bytes", b"are", b"copied", 7)
    assert manager.broadcast_many([*SOME, AppEvent(63, b"")]) == 6
    assert native.ordinals == [1]
    assert plugin.counters.accepted == 1


def test_a_library_with_nothing_to_say(manager, compile_plugin, tmp_path) -> None:
    native = Recorder(compile_plugin, tmp_path, kinds="0")
    plugin = manager.load_plugin(native.config())
    manager.broadcast_many(SOME)
    manager.pause("recorder")
    manager.broadcast_many(SOME)
    manager.resume("recorder")
    assert native.events == []
    assert plugin.counters.accepted == plugin.counters.lost == 0


# ---- From inside of a callback -----------------------------------------------------------------


def test_a_broadcast_from_a_callback_waits_for_the_outer_one(
    manager, compile_plugin, tmp_path
) -> None:
    before = Recorder(compile_plugin, tmp_path, name="before")
    after = Recorder(compile_plugin, tmp_path, name="after")

    def answer(event: object) -> None:
        if isinstance(event, Block) and event.block_height < 100:
            manager.block(b"answer", event.block_height + 100)
            manager.broadcast(Payload(b"and", b"more"))
            manager.broadcast_many([Block(b"", event.block_height + 200)])
            frame = frames.encode(Block(b"", event.block_height + 300))
            manager.broadcast_frames(frame * 2)

    manager.load_plugin(before.config())
    manager.install(RecordingPlugin(on_event=answer))
    manager.load_plugin(after.config())
    manager.broadcast_many(blocks(1, 2))
    heights = [e["height"] for e in before.events]
    assert heights == [1, 2, 101, NONE, 201, 301, 301, 102, NONE, 202, 302, 302]
    assert [e["height"] for e in after.events] == heights
    assert [e["sequence"] for e in after.events] == list(range(1, 13))
    assert after.ordinals == list(range(1, 13))


def test_a_claimant_among_what_a_callback_sends(manager) -> None:
    claimant = RecordingPlugin("claimant", [], payload_names=["mine"])
    other = RecordingPlugin("other", [EventKind.PAYLOAD])

    def answer(event: object) -> None:
        if isinstance(event, Block):
            assert manager.route(Payload(b"mine", b"routed"))
            assert not manager.route(Payload(b"nobody's", b""))
            # The flag alone routes nothing.
            manager.broadcast(Payload(b"mine", b"broadcast", meta=Meta(flags=2)))
            manager.broadcast(Block(b"", 2, Meta(flags=2)))

    asker = RecordingPlugin("asker", [EventKind.BLOCK], on_event=answer)
    for plugin in (claimant, other, asker):
        manager.install(plugin)
    asker.on_event = lambda event: answer(event) if event.block_height == 1 else None
    manager.block(b"", 1)
    assert [e.body for e in claimant.events] == [b"routed"]
    assert [e.body for e in other.events] == [b"broadcast"]
    assert [e.block_height for e in asker.events] == [1, 2]


def test_exceptions_of_a_callback(manager, compile_plugin, tmp_path) -> None:
    after = Recorder(compile_plugin, tmp_path, name="after")
    raised: list[BaseException] = []

    def fail(_event: object) -> None:
        if raised:
            raise raised.pop(0)

    plugin = manager.install(RecordingPlugin(on_event=fail))
    second = manager.install(RecordingPlugin("second", on_event=fail))
    manager.load_plugin(after.config())
    raised.append(ValueError("an ordinary failure"))
    with capture_logs() as logs:
        manager.block(b"", 1)
        wait_until(lambda: logs, "nothing was logged")
    assert logs[0]["event"] == "on_broadcast raised"
    assert (plugin.counters.dead, plugin.counters.delivered) == (1, 0)
    for error in (KeyboardInterrupt(), SystemExit(3)):
        raised.append(error)
        with pytest.raises(type(error)) as caught:
            manager.broadcast_many(blocks(2, 3))
        assert caught.value is error
    # Delivered all the same: the interrupt comes at the end.
    assert after.ordinals == [1, 2, 3, 4, 5]
    # Two at once: the first is raised, and none is left for the next broadcast.
    raised[:] = [KeyboardInterrupt("first"), KeyboardInterrupt("second")]
    with pytest.raises(KeyboardInterrupt, match="first"):
        manager.block(b"", 6)
    manager.block(b"", 7)
    assert second.counters.delivered == 6


def test_an_interrupt_from_a_gap_is_raised_by_resume(manager) -> None:
    def interrupt(event: object) -> None:
        if isinstance(event, Gap):
            raise KeyboardInterrupt

    manager.install(RecordingPlugin(on_event=interrupt))
    manager.pause("recorder")
    manager.block(b"", 1)
    with pytest.raises(KeyboardInterrupt):
        manager.resume("recorder")
    manager.block(b"", 2)


def test_an_interrupt_of_one_thread_is_not_raised_on_another(manager) -> None:
    barrier = threading.Barrier(2)
    caught: dict[str, str] = {}

    def stop(_event: object) -> None:
        raise SystemExit(threading.current_thread().name)

    def send() -> None:
        barrier.wait(240)
        try:
            for height in range(200):
                try:
                    manager.block(b"", height)
                except SystemExit as error:
                    assert error.code == threading.current_thread().name
        except AssertionError:
            caught[threading.current_thread().name] = "wrong"

    manager.install(RecordingPlugin(on_event=stop))
    threads = [threading.Thread(target=send, name=f"sender {i}") for i in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(240)
    assert caught == {}


# ---- Pause and resume ----------------------------------------------------------------------------


def test_a_pause_becomes_one_gap(manager, compile_plugin, tmp_path) -> None:
    native = Recorder(compile_plugin, tmp_path)
    python = RecordingPlugin("python")
    plugin = manager.load_plugin(native.config())
    manager.install(python)
    manager.block(b"", 10)
    manager.pause(plugin.name)
    assert plugin.state is PluginState.PAUSED
    since = plugin.since
    manager.pause(plugin.name)
    assert plugin.since == since
    manager.mapping_update(b"p", b"m", b"k", b"v", 11)
    manager.broadcast_many([Block(b"", 12), Payload(b"n", b"", None, None)])
    assert native.ordinals == [1]
    assert plugin.counters.lost == 3
    assert plugin.counters.lag == 3
    with capture_logs() as logs:
        manager.resume(plugin.name)
    told = "3 events were not delivered (ordinals 2 to 4)"
    assert any(told in line["event"] for line in logs)
    manager.resume(plugin.name)
    manager.block(b"", 14)
    gap = native.events[1]
    none = NONE
    assert gap["kind"] == GAP
    assert gap["ordinal"] == 4
    assert gap["gap"] == [PAUSED, 2, 4, 3, 0b11001, 11, none]
    assert gap["height"] == none
    assert gap["stream"] == gap["sequence"] == 0
    assert gap["time"] > 0
    assert native.ordinals == [1, 4, 5]
    counters = plugin.counters
    assert (counters.accepted, counters.delivered, counters.acknowledged) == (5, 2, 5)
    assert python.gaps == []


def test_a_gap_in_python(manager) -> None:
    plugin = RecordingPlugin(kinds=[EventKind.BLOCK])
    manager.install(plugin)
    manager.pause("recorder")
    manager.broadcast_many(blocks(5, 9))
    manager.pause("recorder")
    manager.resume("recorder")
    (gap,) = plugin.gaps
    assert gap.meta.time_ns > 0
    assert (gap.meta.stream, gap.meta.sequence, gap.lost_stream > 0) == (0, 0, True)
    assert gap == Gap(GapReason.PAUSED, 1, 5, 5, 8, 5, 9, gap.meta, gap.lost_stream, 1, 5)
    manager.broadcast(Block(b"", 10))
    event = plugin.events.pop()
    assert (event.meta.stream, event.meta.sequence) == (gap.lost_stream, 6)
    manager.pause("recorder")
    manager.resume("recorder")
    assert len(plugin.events) == 1


def test_what_a_paused_plugin_missed_is_told_at_unload(manager, compile_plugin, tmp_path) -> None:
    native = Recorder(compile_plugin, tmp_path)
    plugin = manager.load_plugin(native.config())
    manager.pause("recorder")
    manager.broadcast_many(blocks(1, 3))
    with capture_logs() as logs:
        manager.unload_plugin("recorder")
    [problem] = [line["problem"] for line in logs if "problem" in line]
    assert problem.startswith("3 events were not acknowledged, written to ")
    assert problem.endswith(": 0 kept, 3 lost before")
    [file] = (tmp_path / "data" / "recorder").glob("undelivered-*.slip")
    with file.open("rb") as capture:
        read_header(capture, "undelivered")
        [gap] = [frames.decode(frame)[0] for frame in read_frames(capture, "undelivered")]
    assert (gap.first, gap.last, gap.reason) == (1, 3, GapReason.PAUSED)
    assert (plugin.counters.undelivered, plugin.counters.waiting) == (3, 0)
    assert native.calls == ["load", "unload", "destroy"]


# ---- Failures ----------------------------------------------------------------------------------------


def test_a_flush_without_time_does_not_pause(manager, compile_plugin, tmp_path) -> None:
    native = Recorder(compile_plugin, tmp_path, flags=EXPLICIT_ACK)
    plugin = manager.load_plugin(native.config())
    manager.block(b"", 1)
    with pytest.raises(FlushTimeout, match="no time is left for its flush"):
        manager.flush(0)
    assert plugin.state is PluginState.RUNNING
    manager.block(b"", 2)
    manager.flush()
    assert plugin.counters.acknowledged == 2


def test_statuses(manager, compile_plugin, tmp_path) -> None:
    """OK and IGNORED are success; everything else is counted, logged and never raised."""
    statuses = [0, 2, -1, -2, -12, -14, -15, 1, 3, -18, 99, -1000]
    native = Recorder(compile_plugin, tmp_path)
    plugin = manager.load_plugin(native.config(statuses=statuses))
    with capture_logs() as logs:
        for height in range(len(statuses) + 1):
            manager.block(b"", height)
        manager.flush()
    assert native.ordinals == list(range(1, len(statuses) + 2))
    counters = plugin.counters
    assert (counters.delivered, counters.dead) == (3, len(statuses) - 2)
    assert counters.acknowledged == len(statuses) + 1
    errors = [line["event"] for line in logs if "contract" not in line]
    assert len(errors) == len(statuses) - 2
    assert errors[0].startswith("on_broadcast returned FAILED (-1) for BLOCK, ordinal 3")
    assert errors[0].endswith(": told to fail")
    strange = [line["event"] for line in logs if line.get("contract") == "plugin misbehaving"]
    assert strange == [
        f"on_broadcast returned {status}, which is not one of its answers" for status in (1, 3, 99)
    ]


@pytest.mark.parametrize("status", [-16, -17], ids=["FATAL", "PANIC"])
@pytest.mark.parametrize("flags", [PROMPT, BATCH, EXPLICIT_ACK], ids=["plain", "batch", "ack"])
def test_a_plugin_that_gives_up(manager, compile_plugin, tmp_path, status, flags) -> None:
    native = Recorder(compile_plugin, tmp_path, flags=flags)
    other = RecordingPlugin("other")
    plugin = manager.load_plugin(native.config(statuses=[0, status]))
    manager.install(other)
    manager.block(b"", 1)
    manager.broadcast_many(blocks(2, 2))
    manager.broadcast_many(blocks(3, 6))
    assert plugin.state is PluginState.FAILED
    name = "FATAL (-16)" if status == -16 else "PANIC (-17)"
    assert plugin.reason == f"on_broadcast returned {name}"
    assert native.ordinals == [1, 2]
    assert len(other.events) == 6
    manager.pause("recorder")
    manager.resume("recorder")
    assert plugin.state is PluginState.FAILED
    manager.unload_plugin("other")
    assert not manager.has_subscribers(EventKind.BLOCK)
    manager.unload_plugin("recorder")
    # No flush after FATAL, nothing but destroy after PANIC.
    end = ["unload", "destroy"] if status == -16 else ["destroy"]
    assert native.calls == ["load", "event", "event", *end]


def test_a_failed_plugin_can_be_reloaded(manager, compile_plugin, tmp_path) -> None:
    native = Recorder(compile_plugin, tmp_path)
    plugin = manager.load_plugin(native.config(statuses=[-16]))
    manager.block(b"", 1)
    manager.block(b"", 2)
    assert plugin.state is PluginState.FAILED
    manager.reload_plugin("recorder", native.config())
    assert plugin.state is PluginState.RUNNING
    assert plugin.reason == ""
    manager.block(b"", 3)
    assert native.ordinals == [1, 2]
    assert native.calls.count("unload") == 1


def test_dead_letters(manager, compile_plugin, tmp_path) -> None:
    native = Recorder(compile_plugin, tmp_path)
    path = tmp_path / "dead.capture"
    manager.load_plugin(native.config(statuses=[0, -1, 0, -2, 77], dead_letter=str(path)))
    manager.broadcast_many(SOME)
    manager.unload_plugin("recorder")
    letters = letters_in(path)
    events = [letter.event for letter in letters]
    assert [letter.why["status"] for letter in letters] == [-1, -2, 77]
    assert {letter.why["text"] for letter in letters} == {"told to fail"}
    assert [type(e) for e in events] == [type(SOME[i]) for i in (1, 3, 4)]
    assert [e.meta.sequence for e in events] == [2, 4, 5]
    assert path.stat().st_mode & 0o777 == 0o600
    with path.open("ab") as file:
        file.write(b"\x40\x00\x00")  # a write that was cut off
    manager.load_plugin(native.config(statuses=[-1], dead_letter=str(path)))
    manager.block(b"", 1)
    manager.unload_plugin("recorder")
    assert len(letters_in(path)) == 4


def test_a_full_disk_for_dead_letters(manager, compile_plugin, tmp_path) -> None:
    native = Recorder(compile_plugin, tmp_path)
    plugin = manager.load_plugin(native.config(statuses=[-1, -1]))
    full = os.open("/dev/full", os.O_WRONLY)
    lib.ss_letters_open(plugin.delivery._letters.pointer, full, 1 << 20)
    with capture_logs() as logs:
        manager.block(b"", 1)
        manager.flush()
    assert (plugin.counters.dead, plugin.counters.dead_unkept) == (1, 1)
    assert any("cannot write to the dead-letter file" in line["event"] for line in logs)


# ---- Runs ------------------------------------------------------------------------------------------


def test_runs(manager, compile_plugin, tmp_path) -> None:
    native = Recorder(compile_plugin, tmp_path, flags=BATCH, kinds="0x18")
    plugin = manager.load_plugin(native.config())
    update = MappingUpdate(b"p", b"m", b"k", b"v", 1)
    events = [*blocks(1, 3), update, *blocks(4, 5), update, update, Payload(b"n", b"")]
    manager.broadcast_frames(b"".join(map(frames.encode, events)))
    events = native.events
    assert [(e["count"], e["ordinal"]) for e in events] == [
        (3, 1),
        (3, 2),
        (3, 3),
        (2, 4),
        (2, 5),
        (1, 6),
    ]
    assert plugin.counters.delivered == plugin.counters.acknowledged == 6
    # From a list, what nobody wants is not even there to part a run.
    manager.broadcast_many([*blocks(1, 3), update, *blocks(4, 5)])
    assert [e["count"] for e in native.events[6:]] == [5] * 5
    # A long run comes in pieces that do not cut a frame.
    manager.broadcast_frames(frames.encode(Block(b"x" * 1000, 1)) * 500)
    assert native.ordinals == list(range(1, 512))
    counts = Counter(e["count"] for e in native.events[11:])
    assert sum(e / c for c, e in counts.items()) > 2


def test_a_run_that_ends_it(manager, compile_plugin, tmp_path) -> None:
    native = Recorder(compile_plugin, tmp_path, flags=BATCH)
    path = tmp_path / "dead"
    plugin = manager.load_plugin(native.config(run_status=-16, dead_letter=str(path)))
    manager.block(b"", 1)
    manager.broadcast_many(blocks(2, 4))
    assert plugin.state is PluginState.FAILED
    counters = plugin.counters
    assert (counters.accepted, counters.delivered, counters.dead) == (4, 1, 3)
    assert counters.acknowledged == 1
    assert [letter.why["ordinal"] for letter in letters_in(path)] == [2, 3, 4]


# ---- Payloads that are routed --------------------------------------------------------------------------


def test_routing(manager, compile_plugin, tmp_path) -> None:
    native = Recorder(compile_plugin, tmp_path, kinds="0x8")
    plugin = manager.load_plugin(native.config(claim="greetings"))
    first = RecordingPlugin("first", [], payload_names=["hello", b"greetings"])
    listener = RecordingPlugin("listener", [EventKind.PAYLOAD])
    manager.install(first)
    manager.install(listener)
    assert manager.route(Payload(b"greetings", b"to the native one", b"me", 7))
    assert manager.route(Payload(b"hello", b"to the other"))
    assert not manager.route(Payload(b"hell", b""))
    assert not manager.route(Payload(b"hello\0", b""))
    (event,) = native.events
    assert (event["kind"], event["flags"], event["height"], event["ordinal"]) == (4, 2, 7, 1)
    assert [(e.name, e.meta.flags) for e in first.events] == [(b"hello", 2)]
    assert listener.events == []
    manager.pause("recorder")
    assert manager.route(Payload(b"greetings", b""))
    manager.resume("recorder")
    assert native.events[1]["gap"][:5] == [PAUSED, 2, 2, 1, 16]
    manager.block(b"", 1)
    manager.broadcast(Payload(b"greetings", b"broadcast"))
    assert [e["kind"] for e in native.events] == [4, GAP, 3]
    assert plugin.counters.accepted == 3
    manager.unload_plugin("recorder")
    assert manager.route(Payload(b"greetings", b""))  # now to the next claimant
    assert len(first.events) == 2


def test_nothing_is_routed_to_a_failed_plugin(manager, compile_plugin, tmp_path) -> None:
    native = Recorder(compile_plugin, tmp_path, kinds="0")
    plugin = manager.load_plugin(native.config(claim="mine", statuses=[-16]))
    assert manager.route(Payload(b"mine", b""))
    assert plugin.state is PluginState.FAILED
    assert not manager.route(Payload(b"mine", b""))
