"""The calls that send events: wrong arguments, odd buffers, sizes, and frames that are refused."""

from __future__ import annotations

import array
import gc
import mmap
import os
import signal
import sys
import threading
import tracemalloc

import pytest

from slipstream import (
    AppEvent,
    Block,
    BroadcastError,
    EventKind,
    FrameError,
    Gap,
    GapReason,
    MappingRemoval,
    MappingUpdate,
    Mark,
    Meta,
    Payload,
    PluginManager,
    StakingReward,
    frames,
)
from slipstream.testing import RecordingPlugin
from support.recorded import SOME, Recorder

MIB = 1024 * 1024
ALL = [*EventKind, *range(32, 64)]


@pytest.fixture
def plugin(manager) -> RecordingPlugin:
    recorder = RecordingPlugin(kinds=ALL, payload_names=["name"])
    manager.install(recorder)
    return recorder


# ---- Arguments ------------------------------------------------------------------------------

GOOD = {
    "mapping_update": (b"p", b"m", b"k", b"v", 1),
    "mapping_removal": (b"p", b"m", b"k", 1),
    "staking_reward": (b"s", b"v", 1, 2, 1),
    "block": (b"b", 1),
    "payload": (b"s", b"n", b"b", 1),
    "route": (b"s", b"name", b"b", 1),
}
MAY_BE_NONE = {("mapping_removal", 2), ("payload", 0), ("route", 0)}


class Odd:
    """An object of no use."""


@pytest.mark.parametrize("method", GOOD)
def test_wrong_arguments(manager, plugin, method) -> None:
    call = getattr(manager._sequencer.door, method)
    good = GOOD[method]
    call(*good)
    call(*good[:-1], None)
    call(*good[:-1], 2**64 - 2)
    assert len(plugin.events) == 3
    expected = [TypeError, BufferError, OverflowError]
    call(*good, 1)
    assert plugin.events.pop().encoding == 1
    for encoding in (-1, 2**32, "1", None):
        with pytest.raises((TypeError, OverflowError)):
            call(*good, encoding)
    for wrong in ((), good[:-1], (*good, 1, 1), (good,)):
        with pytest.raises(TypeError, match=rf"{method}\(\) takes .*, got {len(wrong)} arguments"):
            call(*wrong)
    with pytest.raises(TypeError):
        call(*good[:-1], height=1)
    shared = bytearray(b"exported")
    for at, value in enumerate(good):
        is_bytes = isinstance(value, bytes)
        odd = [Odd(), "text", 1.5, [1], memoryview(bytes(10))[::2]] if is_bytes else []
        odd += [5, True] if is_bytes else [Odd(), "1", 1.5, b"1", -1, 2**64, 10**30]
        if (method, at) not in MAY_BE_NONE and (is_bytes or at != len(good) - 1):
            odd.append(None)
        if at == len(good) - 1:
            odd.append(2**64 - 1)
        for thing in odd:
            arguments = [shared if isinstance(v, bytes) else v for v in good]
            arguments[at] = thing
            before = sys.getrefcount(thing) if isinstance(thing, Odd) else 0
            with pytest.raises(tuple(expected)) as caught:
                call(*arguments)
            assert str(caught.value)
            del caught
            assert before in {0, sys.getrefcount(thing)}
            shared.append(0)  # no export of it is left: else a BufferError
            shared.pop()
    assert len(plugin.events) == 3


def test_odd_kinds(manager, plugin) -> None:
    assert [k for k in range(-3, 70) if manager.has_subscribers(k)] == [
        *range(5),
        *(6, 7),
        *range(32, 64),
    ]
    for number in (-1, 64, 2**31, 2**63, 2**64, 10**30, -(10**30), False):
        assert manager.has_subscribers(number) is (number is False)
    for odd in ("0", None, 0.0, b"", Odd()):
        with pytest.raises(TypeError):
            manager.has_subscribers(odd)
    with pytest.raises(TypeError):
        manager.has_subscribers()


@pytest.mark.parametrize("method", ["broadcast", "broadcast_many", "broadcast_frames"])
def test_odd_events(manager, plugin, method) -> None:
    call = getattr(manager, method)
    for odd in (None, 5, "frame", Odd(), [5], [None], ["x"], [[b""]], {1: 2}, [Odd()]):
        with pytest.raises((TypeError, FrameError)):
            call(odd)
    assert plugin.events == []


def test_iterables(manager, plugin) -> None:
    assert manager.broadcast_many(event for event in SOME) == 5
    assert manager.broadcast_many({SOME[0]: 1}) == 1
    assert manager.broadcast_many([]) == 0
    assert manager.broadcast_many(()) == 0
    assert manager.broadcast_frames(b"") == 0

    def failing() -> object:
        yield SOME[0]
        raise LookupError("the source is gone")

    with pytest.raises(LookupError):
        manager.broadcast_many(failing())
    growing = list(SOME)

    class Grows(type(SOME[0])):
        pass

    with pytest.raises(TypeError, match="Grows is not an event"):
        manager.broadcast_many([*growing, Grows(b"", b"", b"", b"")])
    assert len(plugin.events) == 6


def test_nothing_leaks(manager, plugin) -> None:
    plugin.events = type("Sink", (), {"append": lambda *_: None, "__len__": lambda _: 0})()
    bad = bytearray(frames.encode(SOME[0]))
    bad[0] = 1
    frame = frames.encode(SOME[0])

    def exercise() -> None:
        for event in SOME:
            manager.broadcast(event)
        manager.broadcast(frame)
        manager.broadcast(bytearray(frame))
        manager.broadcast_many([*SOME, frame])
        manager.broadcast_frames(frame * 3)
        manager.mapping_update(bytearray(b"p"), memoryview(b"m"), b"k", b"v", 2**40)
        manager.route(Payload(b"name", b"body"))
        manager.route(Payload(b"nobody", b"body"))
        for call in (
            lambda: manager.broadcast(bytes(bad)),
            lambda: manager.broadcast_many([*SOME, bytes(bad)]),
            lambda: manager.broadcast_frames(bad),
            lambda: manager.broadcast(Odd()),
            lambda: manager.mapping_update(bytearray(b"p"), b"m", b"k", Odd(), 1),
            lambda: manager.block(b"", -1),
            lambda: frames.decode(bytes(bad)),
        ):
            with pytest.raises((FrameError, TypeError, OverflowError)):
                call()
        for event in frames.decode_many(frame * 2):
            frames.encode(event)

    for _ in range(20):
        exercise()
    gc.collect()
    tracemalloc.start()
    try:
        exercise()
        gc.collect()
        before = tracemalloc.take_snapshot()
        for _ in range(200):
            exercise()
        gc.collect()
        grown = tracemalloc.take_snapshot().compare_to(before, "lineno")
    finally:
        tracemalloc.stop()
    leaks = [stat for stat in grown if stat.count_diff >= 150]
    assert leaks == []


# ---- Buffers ----------------------------------------------------------------------------------


def test_buffers_of_all_sorts(manager, plugin) -> None:
    with mmap.mmap(-1, 4096) as page:
        page[:3] = b"map"
        for data in (
            b"bytes",
            bytearray(b"array"),
            memoryview(b"view"),
            memoryview(b"__part__")[2:6],
            array.array("B", b"abc"),
            array.array("I", [1, 2]),
            page,
            type("B", (bytes,), {})(b"sub"),
            b"",
            bytearray(),
        ):
            manager.block(data, 1)
            assert plugin.events[-1].block == bytes(data)
            manager.mapping_removal(data, data, data, None)
            assert plugin.events[-1] == MappingRemoval(
                *[bytes(data)] * 3, None, plugin.events[-1].meta
            )
    manager.mapping_removal(b"p", b"m", None, None)
    assert plugin.events[-1].key is None
    frame = frames.encode(SOME[0])
    for data in (bytearray(frame), memoryview(frame), array.array("B", frame)):
        assert manager.broadcast_frames(data) == 1
    with pytest.raises(BufferError):
        manager.broadcast_frames(memoryview(frame * 2)[::2])


@pytest.mark.parametrize("name", GOOD)
@pytest.mark.parametrize("how", ["wanted", "nobody wants it", "another is wrong"])
def test_buffers_are_let_go(manager, name: str, how: str) -> None:
    """A bytearray that somebody looks into cannot grow."""
    if how == "wanted":
        manager.install(RecordingPlugin(kinds=ALL, payload_names=["name"]))
    given = [bytearray(one) if isinstance(one, bytes) else one for one in GOOD[name]]
    if how == "another is wrong":
        with pytest.raises(TypeError):
            getattr(manager._sequencer.door, name)(*given[:-1], "a text")
    else:
        getattr(manager._sequencer.door, name)(*given)
    for one in given:
        if isinstance(one, bytearray):
            one.append(1)


def test_a_buffer_may_change_after_the_call(manager, plugin) -> None:
    data = bytearray(b"first")
    manager.block(data, 1)
    data[:] = b"other"
    data.extend(b"longer")
    assert plugin.events[0].block == b"first"


def test_a_callback_may_change_the_caller_s_list(manager) -> None:
    events = list(SOME)
    plugin = RecordingPlugin(kinds=ALL, on_event=lambda _event: events.clear())
    manager.install(plugin)
    assert manager.broadcast_many(events) == 5
    assert len(plugin.events) == 5


# ---- Sizes --------------------------------------------------------------------------------------


def test_the_largest_event(manager, compile_plugin, tmp_path) -> None:
    native = Recorder(compile_plugin, tmp_path)
    manager.load_plugin(native.config(claim="mine"))
    room = 64 * MIB - 48 - 16
    manager.block(bytes(room), 1)
    assert native.events[0]["len"] == 64 * MIB
    manager.broadcast(Block(bytes(room), 2))
    manager.broadcast_many([Block(b"", 3), Block(bytes(room), 4)])
    assert len(native.events) == 4
    too_large = bytes(room + 1)
    for call in (
        lambda: manager.block(too_large, 1),
        lambda: manager.broadcast(Block(too_large, 1)),
        lambda: manager.broadcast_many([Block(b"", 1), Block(too_large, 1)]),
        lambda: manager.mapping_update(b"p", b"m", b"k", too_large, 1),
        lambda: manager.mapping_update(too_large[: 40 * MIB], too_large[: 40 * MIB], b"", b"", 1),
        lambda: manager.route(Payload(b"mine", too_large)),
        lambda: frames.encode(AppEvent(40, too_large + bytes(8))),
    ):
        with pytest.raises(BroadcastError, match="more than 67108864 bytes") as caught:
            call()
        assert caught.value.hint == "split it, or send a reference to it"
    assert len(native.events) == 4


# ---- Frames that are refused ------------------------------------------------------------------------

FRAME = frames.encode(Block(b"block", 7, Meta(stream=1, sequence=1, time_ns=1)))


def with_bytes(at: int, value: bytes) -> bytes:
    return FRAME[:at] + value + FRAME[at + len(value) :]


def u32(value: int) -> bytes:
    return value.to_bytes(4, "little")


def u64(value: int) -> bytes:
    return value.to_bytes(8, "little")


MALFORMED = {
    "frame_len 0": with_bytes(0, u32(0)),
    "frame_len 47": with_bytes(0, u32(47)),
    "frame_len odd": with_bytes(0, u32(len(FRAME) - 1)),
    "frame_len beyond": with_bytes(0, u32(len(FRAME) + 8)),
    "frame_len huge": with_bytes(0, u32(0xFFFFFFF8)),
    "header_len 0": with_bytes(4, b"\0\0"),
    "header_len 49": with_bytes(4, b"\x31\0"),
    "header_len beyond": with_bytes(4, b"\xf8\xff"),
    "payload_len beyond": with_bytes(12, u32(len(FRAME) - 48 + 1)),
    "payload_len huge": with_bytes(12, u32(0xFFFFFFFF)),
    "payload_len 0": with_bytes(12, u32(0)),
    "fixed_len 8": with_bytes(48, u32(8)),
    "fixed_len odd": with_bytes(48, u32(17)),
    "fixed_len beyond": with_bytes(48, u32(0xFFFFFFF8)),
    "span before the fixed part": with_bytes(56, u32(8)),
    "span beyond": with_bytes(60, u32(0xFFFFFFFF)),
    "span offset beyond": with_bytes(56, u32(0xFFFFFFF0)),
    "required span absent": with_bytes(56, u64(0)),
}
REFUSED = {
    "kind 9": with_bytes(6, b"\x09\0"),
    "kind 31": with_bytes(6, b"\x1f\0"),
    "kind 64": with_bytes(6, b"\x40\0"),
    "kind 65535": with_bytes(6, b"\xff\xff"),
    "a mark": frames.encode(Mark(b"slipstream.note", b"{}")),
    "a gap": frames.encode(Gap(GapReason.PAUSED, 1, 2, 2, 1)),
    "half a stamp": with_bytes(24, u64(0)),
    "the other half": with_bytes(16, u64(0)),
}
CRITICAL = {"flag 16": with_bytes(8, u32(1 << 16)), "flag 31": with_bytes(8, u32(1 << 31))}


@pytest.mark.parametrize(
    ("frame", "says"),
    [
        *((f, "truncated, or a length in it contradicts another") for f in MALFORMED.values()),
        *((f, "its kind may not be sent, or it has a stream without") for f in REFUSED.values()),
        *((f, "has a critical flag that this version does not know") for f in CRITICAL.values()),
    ],
    ids=[*MALFORMED, *REFUSED, *CRITICAL],
)
def test_a_frame_is_refused(manager, plugin, frame, says) -> None:
    with pytest.raises(FrameError) as single:
        manager.broadcast(frame)
    not_one = "not exactly one frame"
    lengths = int.from_bytes(frame[:4], "little") != len(frame)
    assert (not_one if lengths else says) in single.value.message
    assert single.value.hint
    # Among others in a list: none is sent.
    with pytest.raises(FrameError) as listed:
        manager.broadcast_many([FRAME, FRAME, frame, FRAME])
    assert listed.value.index == 2
    assert plugin.events == []
    # In a run: those before it are, and the error says where it stands.
    with pytest.raises(FrameError) as run:
        manager.broadcast_frames(FRAME * 2 + frame + FRAME)
    # (A length that reaches into the next frame gives it away only there.)
    good = 3 if frame is MALFORMED["frame_len beyond"] else 2
    assert len(plugin.events) == good
    assert run.value.index == good
    assert run.value.offset >= 2 * len(FRAME)
    assert f"frame {good}, at byte {run.value.offset}" in run.value.message


def test_a_run_that_is_cut_off_anywhere(manager, plugin) -> None:
    run = b"".join(frames.encode(event) for event in SOME)
    starts = [0]
    for event in SOME:
        starts.append(starts[-1] + len(frames.encode(event)))
    for length in range(len(run)):
        plugin.events.clear()
        if length in starts:
            assert manager.broadcast_frames(run[:length]) == starts.index(length)
        else:
            with pytest.raises(FrameError) as caught:
                manager.broadcast_frames(run[:length])
            index = max(i for i, start in enumerate(starts) if start < length)
            assert (caught.value.index, caught.value.offset) == (index, starts[index])
            assert len(plugin.events) == index


def test_a_refused_frame_is_named_by_its_place_in_the_list(manager) -> None:
    manager.install(RecordingPlugin(kinds=[EventKind.BLOCK]))
    bad = MALFORMED["fixed_len 8"]
    for events, index in [
        ([bad], 0),
        ([SOME[0], bad], 1),  # nobody wants the first, which is not even encoded
        ([SOME[0], FRAME, SOME[1], bad], 3),
        ([SOME[0], FRAME, SOME[1], b"short"], 3),
    ]:
        with pytest.raises(FrameError) as caught:
            manager.broadcast_many(events)
        assert caught.value.index == index


def test_events_that_may_not_be_sent(manager, plugin) -> None:
    for event in (
        Gap(GapReason.PAUSED, 1, 2, 2, 1),
        AppEvent(6, b""),
        AppEvent(31, b""),
        AppEvent(64, b""),
        AppEvent(200, b""),
        AppEvent(-1, b""),
        AppEvent(0, b""),
        Block(b"", 1, Meta(stream=5)),
        Block(b"", 1, Meta(sequence=5)),
        Block(b"", 1, Meta(flags=1 << 16)),
    ):
        with pytest.raises(FrameError):
            manager.broadcast(event)
        with pytest.raises(FrameError):
            manager.broadcast_many([event])
    for event in (
        Block(b"", -1),
        Block(b"", 2**64),
        Block(b"", 2**64 - 1),
        Block(b"", 1, Meta(flags=2**32)),
        Block(b"", 1, Meta(stream=2**64, sequence=1)),
        Block(b"", 1, Meta(time_ns=2**63)),
        StakingReward(b"", b"", -1, 1),
        StakingReward(b"", b"", 1, 2**64),
    ):
        with pytest.raises(OverflowError):
            manager.broadcast(event)
    for event in (Block("text"), Block(None), MappingUpdate(b"", b"", b"", 5), Block(b"", "1")):
        with pytest.raises(TypeError):
            manager.broadcast(event)
    assert plugin.events == []


# ---- Waiting -----------------------------------------------------------------------------------------


def test_a_broadcast_that_waits_can_be_interrupted(compile_plugin, tmp_path) -> None:
    native = Recorder(compile_plugin, tmp_path, flags=0)
    with PluginManager() as manager:
        manager.load_plugin(native.held_config())
        native.hold("event")
        thread = threading.Thread(target=manager.block, args=(b"", 1))
        thread.start()
        native.wait_until_held("event")
        timer = threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGINT))
        # The first event is held all the while: what ends the second one's wait is the signal.
        with pytest.raises(KeyboardInterrupt):
            timer.start()
            manager.block(b"", 2)
        native.release("event")
        thread.join()
    assert [e["height"] for e in native.events] == [1]


@pytest.mark.parametrize("length", [0, 47, 0xFFFFFFF8], ids=["0", "47", "4 GiB"])
def test_a_buffer_that_changes_while_it_is_sent(manager, compile_plugin, tmp_path, length) -> None:
    """A length that was checked and then changes must not lead anybody astray."""
    native = Recorder(compile_plugin, tmp_path)
    run = bytearray(FRAME * 300)

    def spoil(_event: object) -> None:
        for at in range(0, len(run), len(FRAME)):
            run[at : at + 4] = length.to_bytes(4, "little")

    manager.install(RecordingPlugin(kinds=[EventKind.BLOCK], on_event=spoil))
    manager.load_plugin(native.config(name="after"))
    assert manager.broadcast_frames(memoryview(run).toreadonly()) == 300
    assert len(native.events) == 300


@pytest.mark.parametrize("height", ["7", b"7", 7.0, (7,), object()])
def test_what_is_no_height_is_refused_while_nobody_subscribes(manager, height) -> None:
    for call in (
        lambda: manager.mapping_update(b"p", b"m", b"k", b"v", height),
        lambda: manager.mapping_removal(b"p", b"m", b"k", height),
        lambda: manager.staking_reward(b"s", b"v", 5, height),
        lambda: manager.block(b"", height),
    ):
        with pytest.raises(TypeError):
            call()
