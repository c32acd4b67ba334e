"""Thread mode under random load: python tests/stress/threads.py --seconds N --seed S

Four threads broadcast in all ways; another pauses, resumes, reloads, flushes, unloads and
loads at random. The plugin (tests/native/witness.c) checks each event as it comes; at each
unload its ledger is compared with the counters.
"""

from __future__ import annotations

import argparse
import ctypes
import logging
import random
import sys
import tempfile
import threading
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from slipstream import (
    Block,
    EventKind,
    FlushTimeout,
    MappingUpdate,
    Payload,
    PluginManager,
    SlipstreamError,
    frames,
)
from slipstream.testing import RecordingPlugin, build_plugin
from support.outcomes import Auditor, assert_adds_up

NATIVE = Path(__file__).resolve().parents[1] / "native"
EXPLICIT_ACK, BATCH, PROMPT = 8, 16, 2


class Ledger(ctypes.Structure):
    """As in tests/native/witness.h."""

    _fields_ = [
        *((name, ctypes.c_uint64) for name in ("last", "sequence", "events", "lost", "gaps")),
        ("inside", ctypes.c_uint),
        ("loaded", ctypes.c_uint),
    ]


class Place:
    """One plugin, again and again."""

    def __init__(self, manager: PluginManager, name: str, library: Path, **keys: object) -> None:
        self.manager = manager
        self.name = name
        self.keys = {"libpath": str(library), "name": name, **keys}
        self.events = self.lost = self.generations = 0
        self.load()

    def config(self) -> dict[str, object]:
        return {**self.keys, "ledger": ctypes.addressof(self.ledger)}

    def load(self) -> None:
        self.ledger = Ledger()
        self.plugin = self.manager.load_plugin(self.config())
        self.generations += 1

    def unload(self) -> None:
        self.manager.unload_plugin(self.name)
        counters, ledger = self.plugin.counters, self.ledger
        facts = (self.name, counters, [getattr(ledger, name) for name, _ in Ledger._fields_])
        assert ledger.loaded == ledger.inside == 0, facts
        assert_adds_up(counters)
        assert counters.dead == counters.waiting == 0, facts
        assert counters.told == ledger.lost, facts
        assert counters.undelivered == counters.accepted - counters.acknowledged, facts
        assert counters.delivered == ledger.events, facts
        assert counters.acknowledged == ledger.last == ledger.events + ledger.lost, facts
        if counters.acknowledged == counters.accepted:  # else it was paused, and has a rest
            assert counters.lost == ledger.lost, facts
            assert counters.accepted == counters.delivered + counters.lost, facts
        self.events += ledger.events
        self.lost += ledger.lost


class Watcher(RecordingPlugin):
    """Written in Python: sees that the order is one, and broadcasts from its callback."""

    def __init__(self, manager: PluginManager) -> None:
        super().__init__("watcher", {EventKind.BLOCK})
        self.manager = manager
        self.sequence = 0
        self.problem = ""

    def on_broadcast(self, event: object) -> None:
        assert isinstance(event, Block)
        if event.meta.sequence <= self.sequence:
            self.problem = f"sequence {event.meta.sequence} behind {self.sequence}"
        self.sequence = event.meta.sequence
        if self.sequence % 1000 == 0:
            self.manager.broadcast(block(random.Random(self.sequence)))


def block(rng: random.Random) -> Block:
    height = rng.randrange(1_000_000)
    size = rng.randrange(3000 if rng.random() < 0.1 else 100)
    return Block(bytes((height + i) & 255 for i in range(size)), height)


def send(manager: PluginManager, seed: int, stop: threading.Event, problems: list) -> None:
    rng = random.Random(seed)
    pool = [block(rng) for _ in range(200)]
    try:
        while not stop.is_set():
            way = rng.randrange(6)
            one = rng.choice(pool)
            if way == 0:
                manager.broadcast(one)
            elif way == 1:
                manager.block(one.block, one.block_height)
            elif way == 2:
                manager.broadcast_many(rng.choices(pool, k=rng.randrange(1, 200)))
            elif way == 3:
                run = b"".join(map(frames.encode, rng.choices(pool, k=rng.randrange(1, 50))))
                manager.broadcast_frames(run)
            elif way == 4:
                manager.broadcast(MappingUpdate(b"p", b"m", b"k", b"v", 1))
                manager.route(Payload(b"nobody", b""))
            else:
                time.sleep(rng.random() / 500)
    except Exception as error:  # noqa: BLE001 - all of them are told
        problems.append(error)


def steer(manager: PluginManager, place: Place, rng: random.Random) -> None:
    way = rng.randrange(8)
    if way == 0:
        manager.pause(place.name)
    elif way in {1, 2}:
        manager.resume(place.name)
    elif way == 3:
        try:
            manager.flush(rng.random() / 5)
        except FlushTimeout:
            pass
    elif way == 4:
        manager.reload_plugin(place.name, place.config())
    elif way == 5:
        if rng.random() < 0.8:
            manager.resume(place.name)
        place.unload()
        place.load()
    else:
        time.sleep(rng.random() / 20)


def build(folder: Path) -> dict[int, Path]:
    """The plugin for each kind of flags."""
    libraries = {}
    for flags in (0, PROMPT, EXPLICIT_ACK, BATCH | EXPLICIT_ACK):
        own = folder / str(flags)
        own.mkdir()
        source = (NATIVE / "witness.c").read_text()
        libraries[flags] = build_plugin(
            source, f"-DFLAGS={flags}", f"-I{NATIVE}", folder=own, name="witness"
        )
    return libraries


def load_all(manager: PluginManager, libraries: dict[int, Path]) -> list[Place]:
    ring = {"mode": "thread", "ring_bytes": 64 * 1024, "block_timeout": 0.2}
    acking = EXPLICIT_ACK | BATCH
    newest = {**ring, "overflow": "drop_newest", "flush_interval": 0.1}
    return [
        Place(manager, "block", libraries[0], **ring),
        Place(manager, "newest", libraries[acking], **newest),
        Place(manager, "oldest", libraries[0], **ring, overflow="drop_oldest"),
        Place(manager, "acking", libraries[EXPLICIT_ACK], **ring, flush_interval=60),
        Place(manager, "inline", libraries[0], mode="inline"),
        Place(manager, "prompt", libraries[PROMPT], mode="inline"),
    ]


def steer_until(
    end: float, manager: PluginManager, places: list[Place], rng: random.Random, problems: list
) -> int:
    rounds = 0
    try:
        while time.monotonic() < end and not problems:
            steer(manager, rng.choice(places), rng)
            rounds += 1
    except (AssertionError, SlipstreamError) as error:
        problems.append(error)
    return rounds


def finish(manager: PluginManager, places: list[Place], problems: list) -> None:
    try:
        for place in places:
            manager.resume(place.name)
        manager.flush(240)
        for place in places:
            place.unload()
    except (AssertionError, SlipstreamError) as error:
        problems.append(error)


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seconds", type=float, default=600)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    options = parser.parse_args()
    logging.getLogger("slipstream").setLevel(logging.CRITICAL)
    rng = random.Random(options.seed)
    print(f"seed {options.seed}", flush=True)
    problems: list[BaseException] = []
    with (
        tempfile.TemporaryDirectory() as folder,
        PluginManager(insecure_paths=True, log_level="error") as manager,
    ):
        places = load_all(manager, build(Path(folder)))
        watcher = Watcher(manager)
        manager.install(watcher)
        stop = threading.Event()
        senders = [
            threading.Thread(target=send, args=(manager, rng.randrange(1 << 30), stop, problems))
            for _ in range(4)
        ]
        for sender in senders:
            sender.start()
        auditor = Auditor(manager)
        auditor.start()
        rounds = steer_until(time.monotonic() + options.seconds, manager, places, rng, problems)
        stop.set()
        for sender in senders:
            sender.join(240)
            if sender.is_alive():
                problems.append(RuntimeError("a broadcast does not end"))
        if not problems:
            finish(manager, places, problems)
        auditor.stop()
        problems += [AssertionError(wrong) for wrong in auditor.wrong]
        print(f"counters added up {auditor.looks} times")
        if watcher.problem:
            problems.append(AssertionError(watcher.problem))
        for place in places:
            print(f"{place.name}: {place.events} events, {place.lost} lost, ", end="")
            print(f"{place.generations} generations")
    for problem in problems:
        print(f"{type(problem).__name__}: {problem}", file=sys.stderr)
    print(f"{rounds} rounds, {len(problems)} problems")
    return 1 if problems else 0


if __name__ == "__main__":
    raise SystemExit(main())
