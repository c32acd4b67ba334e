"""Thread mode: several broadcasters at once, one order for all plugins."""

from __future__ import annotations

import random
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from slipstream import Block, EventKind, Payload, PluginManager
from slipstream.testing import RecordingPlugin
from support.gated import Gated, wait_until
from support.recorded import BATCH, EXPLICIT_ACK, GAP, PROMPT, Recorder
from support.rings import HELD, THREAD, page, small

STRESS = Path(__file__).resolve().parents[1] / "stress"


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
        assert (counters.accepted, counters.delivered) == (total, total)
        assert (counters.dead, counters.lost, counters.acknowledged) == (0, 0, total)
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
    assert plugin.counters.accepted < 20
    gated.open()
    sender.join(240)
    manager.flush(240)
    assert [event.height for event in gated.events] == [1, *range(100, 140)]


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


def test_control_gets_its_turn_beside_a_busy_broadcaster(manager, compile_plugin, tmp_path) -> None:
    gated = Gated(compile_plugin, tmp_path)
    busy = manager.load_plugin(gated.config(**THREAD, block_timeout=240, buffered=1, gate=""))
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
            before = busy.counters.accepted
            manager.unload_plugin("recorder", 5)
            wait_until(lambda before=before: busy.counters.accepted > before, "it was not busy")
    finally:
        stop.set()
        sender.join(240)
    assert not sender.is_alive()


def test_random_load_for_a_while() -> None:
    """The short form of tests/stress/threads.py."""
    done = subprocess.run(
        [sys.executable, str(STRESS / "threads.py"), "--seconds", "6", "--seed", "1"],
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "0 problems" in done.stdout
