"""What all parts of faults.py use: processes, a stream of events, patience, a compiler."""

from __future__ import annotations

import os
import random
import signal
import time
from array import array
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from slipstream import AppEvent, Block, MappingUpdate, PluginManager, frames
from slipstream.status import Counters
from slipstream.testing import build_plugin
from support.oracle import Verdict, command, digest

ROOT = Path(__file__).resolve().parents[2]

SIGNALS = (signal.SIGKILL, signal.SIGSEGV, signal.SIGTERM)

# A broadcast never waits that long for a worker that is restarted; if one does, the worker does
# not get on, and the round has to come to its end and say so.
BLOCK_TIMEOUT = 60

INVARIANTS = ("lost", "order_violations", "unmarked_repeats", "hash_mismatches")


@dataclass(frozen=True)
class Process:
    """A process, told by its start from a later one that got the same number."""

    pid: int
    started: int  # in ticks since boot

    @classmethod
    def seen(cls, pid: int | None) -> Self | None:
        """The process that has this number now, if any."""
        stat = _stat(pid)
        return None if stat is None else cls(pid, stat[1])

    @property
    def lives(self) -> bool:
        stat = _stat(self.pid)
        return stat is not None and stat[0] != "Z" and stat[1] == self.started

    def kill(self, number: int) -> bool:
        """Send a signal to this process and to no other; False if it is gone."""
        try:
            descriptor = os.pidfd_open(self.pid)
        except ProcessLookupError:
            return False
        try:
            if not self.lives:  # the descriptor may be of a later one
                return False
            signal.pidfd_send_signal(descriptor, number)
        except ProcessLookupError:
            return False
        finally:
            os.close(descriptor)
        return True


def _stat(pid: int) -> tuple[str, int] | None:
    """State and start of a process."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return fields[0], int(fields[19])


def children(pid: int) -> list[Process]:
    """The processes that this one has started."""
    try:
        tasks = list(Path(f"/proc/{pid}/task").iterdir())
        pids = [int(c) for task in tasks for c in (task / "children").read_text().split()]
    except (FileNotFoundError, ProcessLookupError):
        return []
    return [child for child in map(Process.seen, pids) if child is not None]


class Stream:
    """Broadcasts blocks of ready events, and remembers what it sent."""

    def __init__(self, manager: PluginManager, rng: random.Random) -> None:
        self._manager = manager
        self._rng = rng
        events = [self._event(i) for i in range(64)]
        self._hashes = [digest(event) for event in events]
        self._frames = [frames.encode(event) for event in events]
        self.sent = array("Q")

    def _event(self, number: int) -> object:
        body = self._rng.randbytes(self._rng.choice((0, 1, 8, 40, 200, 3000)))
        kind = number % 3
        if kind == 0:
            return Block(body, number)
        if kind == 1:
            return AppEvent(40, body, None)
        return MappingUpdate(b"program", b"map", body, body, number)

    def burst(self, count: int) -> None:
        """Send so many events at full speed."""
        while count > 0:
            start = self._rng.randrange(60)
            run = self._frames[start : start + count]
            self._manager.broadcast_frames(b"".join(run))
            self.sent.extend(self._hashes[start : start + len(run)])
            count -= len(run)

    def order(self, what: str, times: int = 1) -> None:
        """Send one event that is an order, for so many attempts."""
        event = command(what, times)
        self._manager.broadcast(event)
        self.sent.append(digest(event))


def compare_outcomes(name: str, counters: Counters, verdict: Verdict) -> list[str]:
    """What a plugin has written of what it acknowledged, and what is counted; all of it was."""
    gone = counters.told + counters.dead
    if (counters.delivered, gone) == (verdict.taken, verdict.told + verdict.refused):
        return []
    return [f"{name}: {counters}, in its file {verdict}"]


def wait(ready: Callable[[], bool], seconds: float = 240) -> bool:
    """Whether it comes true in time."""
    end = time.monotonic() + seconds
    while not ready():
        if time.monotonic() > end:
            return False
        time.sleep(0.001)
    return True


def compiler(folder: Path):
    built: dict[tuple[str, ...], Path] = {}

    def compile_it(source: str, *flags: str, name: str) -> Path:
        key = (*flags, name)
        if key not in built:
            place = folder / f"{name}-{abs(hash(key))}"
            place.mkdir(exist_ok=True)
            text = (ROOT / "tests" / "plugins" / source).read_text()
            built[key] = build_plugin(text, *flags, folder=place, name=name)
        return built[key]

    return compile_it
