"""Full rings: what is lost, what is told of it, and who waits how long."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from slipstream import (
    AppEvent,
    Block,
    BroadcastError,
    FlushTimeout,
    GapReason,
    Meta,
    Payload,
    PluginLoadError,
    PluginManager,
    frames,
)
from support.gated import Gated, Told, wait_until
from support.recorded import EXPLICIT_ACK

RING = 64 * 1024
HELD = 15  # frames of 4,096 bytes, each in a record of its own, that such a ring holds
BLOCK, APP = 1 << 3, 1 << 40
MODES = ("thread", "process")


def page(height: int, *, app: bool = False) -> bytes:
    """An event whose frame takes 4,096 bytes."""
    if app:
        return frames.encode(AppEvent(40, bytes(4040), height))
    return frames.encode(Block(bytes(4032), height))


@pytest.fixture(params=MODES)
def mode(request: pytest.FixtureRequest) -> str:
    return str(request.param)


Load = Callable[..., tuple[Gated, Any]]


@pytest.fixture
def load(
    manager: PluginManager, compile_plugin: Callable[..., Path], tmp_path: Path, mode: str
) -> Iterator[Load]:
    made: list[Gated] = []

    def load_it(name: str = "gated", flags: int = 0, *, gate: int | None = 0, **keys: object):
        plugin = Gated(compile_plugin, tmp_path, name=name, flags=flags)
        made.append(plugin)
        if gate is not None:
            plugin.let_pass(gate)
        config = plugin.config(**{"mode": mode, "ring_bytes": RING, **keys})
        return plugin, manager.load_plugin(config)

    yield load_it
    for plugin in made:
        plugin.open()


def exactly(plugin: Any, *, accepted: int, delivered: int, lost: int) -> None:
    counters = plugin.counters
    assert (counters.accepted, counters.delivered, counters.dead, counters.lost) == (
        accepted,
        delivered,
        0,
        lost,
    )
    assert counters.acknowledged == accepted == delivered + lost
    assert counters.told == lost


def test_a_frame_takes_a_page() -> None:
    assert len(page(1)) == len(page(1, app=True)) == 4096
    assert HELD * (4096 + 16) <= RING < (HELD + 1) * (4096 + 16)


@pytest.mark.parametrize("ending", ["flush", "unload", "next event"])
def test_drop_newest_tells_of_exactly_what_was_lost(manager, load, ending) -> None:
    gated, plugin = load(overflow="drop_newest")
    for height in range(1, HELD + 1):
        manager.broadcast(page(height))
    gated.wait_at_gate()
    for height in range(HELD + 1, HELD + 11):  # neighbours merge
        manager.broadcast(page(height, app=height % 2 == 0))
    assert plugin.counters.accepted == HELD + 10
    assert plugin.counters.lost == 10
    gated.open()
    gap = Told(GapReason.DROPPED_NEWEST, 16, 25, 10, BLOCK | APP, 16, 25)
    expected: list[int | Told] = [*range(1, HELD + 1), gap]
    if ending == "next event":
        wait_until(lambda: plugin.counters.acknowledged == HELD, "it does not drain")
        assert gated.gaps == []
        manager.broadcast(page(99))
        manager.flush(240)
        expected.append(HELD + 11)
    elif ending == "flush":
        manager.flush(240)
    else:
        manager.unload_plugin("gated")
    assert gated.order == expected
    tail = ending == "next event"
    exactly(plugin, accepted=25 + tail, delivered=HELD + tail, lost=10)


def test_several_gaps_keep_their_places(manager, load) -> None:
    gated, plugin = load(overflow="drop_newest")
    for height in range(1, HELD + 4):
        manager.broadcast(page(height))
    gated.wait_at_gate()
    gated.let_pass(2)
    wait_until(lambda: plugin.counters.acknowledged == 2, "it does not pass")
    for height in range(HELD + 4, HELD + 7):
        manager.broadcast(page(height))
    gated.open()
    manager.flush(240)
    assert gated.order == [
        *range(1, 16),
        Told(GapReason.DROPPED_NEWEST, 16, 18, 3, BLOCK, 16, 18),
        19,
        20,
        Told(GapReason.DROPPED_NEWEST, 21, 21, 1, BLOCK, 21, 21),
    ]
    exactly(plugin, accepted=21, delivered=17, lost=4)


def test_drop_oldest_tells_of_exactly_what_was_lost(manager, load) -> None:
    gated, plugin = load(overflow="drop_oldest")
    manager.broadcast(page(1))
    gated.wait_at_gate()  # the first is with the plugin; its place is free for others
    for height in range(2, HELD + 11):
        manager.broadcast(page(height, app=height == 3))
    assert plugin.counters.lost == 9
    gated.open()
    manager.flush(240)
    assert gated.order == [
        1,
        Told(GapReason.DROPPED_OLDEST, 2, 10, 9, BLOCK | APP, 2, 10),
        *range(11, 26),
    ]
    exactly(plugin, accepted=25, delivered=16, lost=9)


def test_drop_oldest_and_explicit_ack_do_not_go_together(
    manager, compile_plugin, tmp_path, mode
) -> None:
    plugin = Gated(compile_plugin, tmp_path, flags=EXPLICIT_ACK)
    with pytest.raises(PluginLoadError, match="EXPLICIT_ACK") as caught:
        manager.load_plugin(plugin.config(mode=mode, overflow="drop_oldest"))
    assert "drop_newest" in caught.value.hint
    assert manager.list_plugins() == []
    assert plugin.lines == []  # not even its on_load was called


def test_block_waits_for_the_timeout_once_then_loses_until_half_empty(manager, load) -> None:
    gated, plugin = load(overflow="block", block_timeout=1.5)
    for height in range(1, HELD + 1):
        manager.broadcast(page(height))
    gated.wait_at_gate()
    assert str(plugin.state) == "running"
    start = time.monotonic()
    manager.broadcast(page(16))
    assert time.monotonic() - start > 1.4
    assert str(plugin.state) == "stalled"
    assert "block_timeout" in plugin.reason
    start = time.monotonic()
    for height in range(17, 57):
        manager.broadcast(page(height))
    assert time.monotonic() - start < 40  # not once more: that would be a minute
    gated.let_pass(7)  # eight left: a little more than half
    wait_until(lambda: plugin.counters.acknowledged == 7, "it does not pass")
    assert str(plugin.state) == "stalled"
    manager.broadcast(page(57))
    assert plugin.counters.lost == 42
    gated.let_pass(8)
    wait_until(lambda: plugin.counters.acknowledged == 8, "it does not pass")
    assert str(plugin.state) == "running"
    manager.broadcast(page(58))
    gated.open()
    manager.flush(240)
    gap = Told(GapReason.BLOCK_TIMEOUT, 16, 57, 42, BLOCK, 16, 57)
    assert gated.order == [*range(1, 16), gap, 58]
    exactly(plugin, accepted=58, delivered=16, lost=42)


def test_block_goes_on_as_soon_as_there_is_room(manager, load) -> None:
    gated, plugin = load(overflow="block", block_timeout=240)
    gated.open()
    manager.broadcast_many([page(height) for height in range(1, 2001)])
    manager.flush(240)
    assert gated.order == list(range(1, 2001))
    assert [event.height for event in gated.events] == list(range(1, 2001))
    exactly(plugin, accepted=2000, delivered=2000, lost=0)


def test_a_slow_plugin_that_makes_headway_is_not_stalled(manager, load) -> None:
    """The timeout counts for an event, not for all that a call sends."""
    gated, plugin = load(overflow="block", block_timeout=3, event_us=100_000, gate=None)
    start = time.monotonic()
    manager.broadcast_many([page(height) for height in range(1, 51)])
    assert time.monotonic() - start > 3.2
    manager.flush(240)
    assert gated.order == list(range(1, 51))
    exactly(plugin, accepted=50, delivered=50, lost=0)


@pytest.mark.parametrize("overflow", ["block", "drop_newest"])
def test_a_paused_plugin_keeps_until_full_and_never_waits(manager, load, overflow) -> None:
    gated, plugin = load(overflow=overflow, block_timeout=240, gate=None)
    manager.pause("gated")
    start = time.monotonic()
    for height in range(1, HELD + 6):
        manager.broadcast(page(height))
    assert str(plugin.state) == "paused"
    assert gated.order == []
    with pytest.raises(FlushTimeout, match=r"gated \(paused\): acknowledged 0 of 20") as caught:
        manager.flush(240)
    assert time.monotonic() - start < 200, caught.value
    manager.resume("gated")
    manager.flush(240)
    reason = GapReason.PAUSED if overflow == "block" else GapReason.DROPPED_NEWEST
    assert gated.order == [*range(1, 16), Told(reason, 16, 20, 5, BLOCK, 16, 20)]
    exactly(plugin, accepted=20, delivered=15, lost=5)


def test_a_paused_plugin_stays_paused_over_a_reload(manager, load, mode) -> None:
    gated, plugin = load(gate=None)
    manager.broadcast(page(1))
    manager.flush(240)
    manager.pause("gated")
    manager.broadcast(page(2))
    manager.reload_plugin("gated", gated.config(mode=mode, ring_bytes=RING))
    manager.broadcast(page(3))
    time.sleep(0.2)
    assert str(plugin.state) == "paused"
    assert gated.order == [1]
    manager.resume("gated")
    manager.flush(240)
    assert gated.order == [1, 2, 3]
    assert [line[1] for line in gated.of("load")] == ["0", "1"]


def test_what_a_pause_held_back_is_delivered_before_an_unload(manager, load) -> None:
    gated, plugin = load(gate=None)
    manager.pause("gated")
    for height in (1, 2):
        manager.broadcast(page(height))
    assert gated.order == []
    manager.unload_plugin("gated")
    assert gated.order == [1, 2]
    exactly(plugin, accepted=2, delivered=2, lost=0)


def test_pausing_ends_a_broadcast_that_waits(manager, load) -> None:
    gated, plugin = load(overflow="block", block_timeout=240)
    for height in range(1, HELD + 1):
        manager.broadcast(page(height))
    gated.wait_at_gate()
    sender = threading.Thread(target=manager.broadcast, args=(page(16),))
    sender.start()
    time.sleep(0.1)
    assert sender.is_alive()
    manager.pause("gated")
    sender.join(240)
    assert not sender.is_alive()
    gated.open()
    manager.resume("gated")
    manager.flush(240)
    assert gated.order == [*range(1, 16), Told(GapReason.PAUSED, 16, 16, 1, BLOCK, 16, 16)]
    exactly(plugin, accepted=16, delivered=15, lost=1)


def test_an_event_larger_than_a_ring_goes_to_the_others(manager, load) -> None:
    small, small_plugin = load("small", gate=None)
    large, large_plugin = load("large", gate=None, ring_bytes=1024 * 1024)
    manager.broadcast(Block(b"1", 1))
    with pytest.raises(BroadcastError) as caught:
        manager.broadcast(Block(bytes(RING), 2))
    assert "larger than the ring" in caught.value.message
    assert "ring_bytes" in caught.value.hint
    with pytest.raises(BroadcastError, match="larger than the ring"):
        manager.block(bytes(RING), 3)
    with pytest.raises(BroadcastError, match="larger than the ring"):
        manager.broadcast_many([Block(b"4", 4), Block(bytes(RING), 5), Block(b"6", 6)])
    run = b"".join(frames.encode(Block(bytes(size), size)) for size in (7, RING, 9))
    with pytest.raises(BroadcastError, match="larger than the ring"):
        manager.broadcast_frames(run)
    manager.broadcast(Block(b"10", 10))
    manager.flush(240)
    assert large.order == list(range(1, 11))
    too_large = GapReason.TOO_LARGE
    assert small.order == [
        1,
        Told(too_large, 2, 3, 2, BLOCK, 2, 3),
        4,
        Told(too_large, 5, 5, 1, BLOCK, 5, 5),
        6,
        7,
        Told(too_large, 8, 8, 1, BLOCK, RING, RING),
        9,
        10,
    ]
    exactly(small_plugin, accepted=10, delivered=6, lost=4)
    exactly(large_plugin, accepted=10, delivered=10, lost=0)


def test_a_loss_of_two_reasons_is_one_gap(manager, load) -> None:
    gated, plugin = load(overflow="drop_newest")
    for height in range(1, HELD + 2):
        manager.broadcast(page(height))
    gated.wait_at_gate()
    with pytest.raises(BroadcastError):
        manager.broadcast(Block(bytes(RING), 17))
    manager.broadcast(page(18))
    gated.open()
    manager.flush(240)
    both = GapReason.DROPPED_NEWEST | GapReason.TOO_LARGE
    assert gated.order == [*range(1, 16), Told(both, 16, 18, 3, BLOCK, 16, 18)]
    exactly(plugin, accepted=18, delivered=15, lost=3)


def test_a_gap_names_the_stream_of_what_was_lost(manager, load) -> None:
    gated, _ = load(overflow="drop_newest")

    def lose(*places: tuple[int, int]) -> None:
        """Fill the ring, then send what does not fit any more: streams and sequences."""
        gated.let_pass(0)
        for _ in range(HELD):
            manager.broadcast(page(1))
        gated.wait_at_gate()
        for stream, sequence in places:
            meta = Meta(stream=stream, sequence=sequence)
            manager.broadcast(Block(bytes(4032), 1, meta))
        gated.open()
        manager.flush(240)

    lose((7, 100), (7, 105), (7, 110))
    lose((7, 300), (8, 300), (7, 301))
    lose((9, 1))
    assert gated.places == [(7, 100, 110), (0, 0, 0), (9, 1, 1)]


def test_the_largest_events_pass_through_a_larger_ring(manager, load) -> None:
    gated, plugin = load(gate=None, ring_bytes=128 * 1024 * 1024, block_timeout=240)
    data = bytes(64 * 1024 * 1024 - 64)
    assert len(frames.encode(Block(data, 1))) == 64 * 1024 * 1024
    for height in range(1, 7):
        manager.block(data, height)
    manager.flush(240)
    assert gated.order == [1, 2, 3, 4, 5, 6]
    assert {event.length for event in gated.events} == {64 * 1024 * 1024}
    exactly(plugin, accepted=6, delivered=6, lost=0)


def test_a_ring_of_a_gigabyte(manager, load) -> None:
    memory = dict(
        line.split()[:2] for line in Path("/proc/meminfo").read_text().splitlines() if ":" in line
    )
    if int(memory["MemAvailable:"]) < 4 * 1024 * 1024:
        pytest.skip("needs 4 GiB of memory")
    gated, plugin = load(gate=None, ring_bytes=1024 * 1024 * 1024)
    manager.broadcast(page(1))
    manager.flush(240)
    assert gated.order == [1]
    exactly(plugin, accepted=1, delivered=1, lost=0)


@pytest.mark.parametrize("overflow", ["drop_oldest", "block"])
def test_a_blocked_plugin_does_not_delay_another(manager, load, overflow) -> None:
    slow, slow_plugin = load("slow", overflow="block", block_timeout=240)
    quick, quick_plugin = load("quick", overflow=overflow, gate=None, ring_bytes=1024 * 1024)

    def send() -> None:
        for height in range(1, HELD + 3):
            manager.broadcast(page(height))

    sender = threading.Thread(target=send)
    sender.start()
    slow.wait_at_gate()
    # All that was sent, also the one that now waits for room in the slow one's ring.
    wait_until(lambda: len(quick.events) == HELD + 1, "the quick one waits, too")
    assert sender.is_alive()  # the slow one holds up who broadcasts
    slow.open()
    sender.join(240)
    manager.flush(240)
    assert quick.order == slow.order == list(range(1, HELD + 3))
    exactly(slow_plugin, accepted=17, delivered=17, lost=0)
    exactly(quick_plugin, accepted=17, delivered=17, lost=0)


def test_all_that_a_call_sends_goes_first_to_whoever_has_room(manager, load) -> None:
    slow, _ = load("slow", overflow="block", block_timeout=240)
    quick, _ = load("quick", gate=None, ring_bytes=1024 * 1024)
    events = [page(height) for height in range(1, 101)]
    sender = threading.Thread(target=manager.broadcast_many, args=(events,))
    sender.start()
    slow.wait_at_gate()
    wait_until(lambda: len(quick.events) == 100, "the quick one waits for the slow one")
    assert sender.is_alive()
    slow.open()
    sender.join(240)
    manager.flush(240)
    assert slow.order == quick.order == list(range(1, 101))


def test_blocked_plugins_wait_at_the_same_time(manager, load) -> None:
    plugins = [load(f"p{n}", overflow="block", block_timeout=6)[0] for n in range(6)]
    for height in range(1, HELD + 1):
        manager.broadcast(page(height))
    for plugin in plugins:
        plugin.wait_at_gate()
    start = time.monotonic()
    manager.broadcast(page(16))
    assert 5.9 < time.monotonic() - start < 35  # one after the other it would take 36 s
    for plugin in plugins:
        plugin.open()
    manager.flush(240)
    for plugin in plugins:
        gap = Told(GapReason.BLOCK_TIMEOUT, 16, 16, 1, BLOCK, 16, 16)
        assert plugin.order == [*range(1, 16), gap]


# ---- Acknowledgement ---------------------------------------------------------------------


def test_explicit_ack_is_asked_to_flush_when_somebody_waits_for_room(manager, load) -> None:
    gated, plugin = load(flags=EXPLICIT_ACK, gate=None, block_timeout=240, flush_interval=600)
    start = time.monotonic()
    for height in range(1, 101):
        manager.broadcast(page(height))
    assert time.monotonic() - start < 200
    manager.flush(240)
    assert gated.order == list(range(1, 101))
    assert 5 <= len(gated.of("flush")) <= 30
    exactly(plugin, accepted=100, delivered=100, lost=0)


def test_explicit_ack_is_asked_to_flush_when_half_the_ring_waits(manager, load) -> None:
    gated, plugin = load(flags=EXPLICIT_ACK, gate=None, flush_interval=600)
    for height in range(1, 8):
        manager.broadcast(page(height))
    wait_until(lambda: len(gated.events) == 7, "it gets nothing")
    time.sleep(0.2)
    assert gated.of("flush") == []
    assert plugin.counters.acknowledged == 0
    manager.broadcast(page(8))
    wait_until(lambda: plugin.counters.acknowledged == 8, "nobody asked it to flush")
    assert len(gated.of("flush")) == 1


def test_explicit_ack_is_asked_to_flush_when_idle(manager, load) -> None:
    gated, plugin = load(flags=EXPLICIT_ACK, gate=None, flush_interval=0.3)
    manager.broadcast(page(1))
    wait_until(lambda: len(gated.events) == 1, "it gets nothing")
    wait_until(lambda: plugin.counters.acknowledged == 1, "nobody asked it to flush")
    assert len(gated.of("flush")) == 1
    time.sleep(0.5)
    assert len(gated.of("flush")) == 1  # not for nothing
    assert plugin.counters.delivered == 1


@pytest.mark.parametrize("ending", ["flush", "unload"])
def test_explicit_ack_and_a_gap_at_the_end(manager, load, ending) -> None:
    gated, plugin = load(flags=EXPLICIT_ACK, overflow="drop_newest", flush_interval=600)
    for height in range(1, HELD + 4):
        manager.broadcast(page(height))
    gated.wait_at_gate()
    gated.open()
    if ending == "flush":
        manager.flush(240)
    else:
        manager.unload_plugin("gated")
    gap = Told(GapReason.DROPPED_NEWEST, 16, 18, 3, BLOCK, 16, 18)
    assert gated.order == [*range(1, 16), gap]
    exactly(plugin, accepted=18, delivered=15, lost=3)
    assert gated.of("flush")


def test_a_flush_that_does_not_get_there_says_who_and_how_far(manager, load) -> None:
    slow, _ = load("slow")
    quick, quick_plugin = load("quick", gate=None)
    for height in range(1, 4):
        manager.broadcast(page(height))
    slow.let_pass(1)
    start = time.monotonic()
    with pytest.raises(FlushTimeout) as caught:
        manager.flush(0.5)
    assert time.monotonic() - start > 0.4
    assert "slow (running): acknowledged 1 of 3" in caught.value.message
    assert "within 0.5 seconds" in caught.value.message
    assert "quick" not in caught.value.message
    assert caught.value.hint
    exactly(quick_plugin, accepted=3, delivered=3, lost=0)
    slow.open()
    manager.flush(240)
    assert slow.order == quick.order == [1, 2, 3]


def test_routed_payloads_go_through_the_ring_of_who_claims_them(manager, load) -> None:
    one, one_plugin = load("one", gate=None, claim="orders")
    two, two_plugin = load("two", gate=None, claim="orders")
    assert manager.route(Payload(b"orders", b"a", b"me", 1))
    assert not manager.route(Payload(b"other", b"a", b"me", 1))
    manager.broadcast(Payload(b"orders", b"for all", b"me", 2))
    manager.flush(240)
    assert [event.height for event in one.events] == [1, 2]
    assert [event.height for event in two.events] == [2]
    exactly(one_plugin, accepted=2, delivered=2, lost=0)
    exactly(two_plugin, accepted=1, delivered=1, lost=0)


def test_a_routed_payload_waits_for_room_and_changes_no_subscription(
    manager, compile_plugin, tmp_path, mode
) -> None:
    gated = Gated(compile_plugin, tmp_path, kinds=BLOCK)
    gated.let_pass(0)
    manager.load_plugin(gated.config(mode=mode, ring_bytes=RING, block_timeout=240, claim="orders"))
    for height in range(1, HELD + 1):
        manager.broadcast(page(height))
    gated.wait_at_gate()
    done: list[bool] = []
    order = Payload(b"orders", bytes(4000), b"me", 16)
    sender = threading.Thread(target=lambda: done.append(manager.route(order)))
    sender.start()
    time.sleep(0.1)
    assert sender.is_alive()
    gated.open()
    sender.join(240)
    assert done == [True]
    assert not manager.has_subscribers(4)
    manager.broadcast(Payload(b"orders", b"not for it", b"me", 17))
    manager.flush(240)
    assert [event.height for event in gated.events] == list(range(1, 17))


def test_what_is_lost_while_streaming_is_told_of(manager, load, mode) -> None:
    """With a plugin that is too slow every ordinal is still an event or in a gap."""
    policies = ("drop_newest", "drop_oldest")
    plugins = [
        load(name, gate=None, event_us=200, overflow=policy)
        for name, policy in zip(("newest", "oldest"), policies, strict=True)
    ]
    for height in range(3000):
        manager.broadcast(page(height))
    manager.flush(240)
    for gated, plugin in plugins:
        seen: list[int] = []
        for one in gated.order:
            seen += range(one.first, one.last + 1) if isinstance(one, Told) else [one]
        assert seen == list(range(1, 3001))
        assert gated.gaps
        lost = sum(gap.count for gap in gated.gaps)
        exactly(plugin, accepted=3000, delivered=3000 - lost, lost=lost)
        if mode == "thread":  # else the supervisor tells of a loss now and then
            told = [isinstance(one, Told) for one in gated.order]
            assert (True, True) not in itertools.pairwise(told)
