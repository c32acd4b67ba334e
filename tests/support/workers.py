"""What the tests of process mode share: senders that remember, and looks at workers."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Self

from slipstream import AppEvent, Event, PluginManager, SlipstreamError, frames
from slipstream.capture import read_frames, read_header
from slipstream.delivery.crash_report import CrashReport
from support.oracle import digest


def wait(ready: Callable[[], object], what: str = "", seconds: float = 240) -> None:
    end = time.monotonic() + seconds
    while not ready():
        assert time.monotonic() < end, what or "it did not come to that"
        time.sleep(0.002)


def alive(pid: int) -> bool:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False
    return stat.rpartition(")")[2].split()[0] != "Z"


def block(number: int) -> AppEvent:
    return AppEvent(40, b"event %d" % number, None)


def capture_of(path: Path) -> list[bytes]:
    with path.open("rb") as file:
        read_header(file, str(path))
        return list(read_frames(file, str(path)))


class Sender:
    """Broadcasts and remembers what the oracle has to record."""

    def __init__(self, manager: PluginManager) -> None:
        self._manager = manager
        self.hashes: list[int] = []

    def send(self, event) -> None:
        self._manager.broadcast(event)
        self.hashes.append(digest(event))

    def many(self, count: int) -> None:
        for number in range(count):
            self.send(block(number))


class Streamer:
    """Broadcasts 32 events, again and again at full speed, from another thread."""

    def __init__(self, manager: PluginManager, make: Callable[[int], Event] = block) -> None:
        self._manager = manager
        events = [make(n) for n in range(32)]
        self._run = b"".join(frames.encode(e) for e in events)
        self._hashes = [digest(e) for e in events]
        self.hashes: list[int] = []
        self._stop = False
        self.error: SlipstreamError | None = None
        self._thread = threading.Thread(target=self._work)

    def _work(self) -> None:
        try:
            while not self._stop:
                self._manager.broadcast_frames(self._run)
                self.hashes += self._hashes
        except SlipstreamError as error:
            self.error = error

    def __enter__(self) -> Self:
        self._thread.start()
        wait(lambda: len(self.hashes) > 320)
        return self

    def __exit__(self, *_) -> None:
        self._stop = True
        self._thread.join(240)
        assert not self._thread.is_alive()


def one_report(manager: PluginManager, plugin) -> CrashReport:
    wait(lambda: plugin.delivery.reports, "no crash report")
    return plugin.delivery.reports[-1]
