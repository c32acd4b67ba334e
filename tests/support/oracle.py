"""What tests/plugins/oracle.c has written, and what must be true of it."""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from dataclasses import astuple, dataclass, field
from pathlib import Path

from slipstream import AppEvent, frames

EXPLICIT_ACK, BATCH, MULTI = 8, 16, 4
EVENT, LOADED, ACKING, GAP, REFUSED = range(5)
COMMAND_KIND = 41

_RECORD = struct.Struct("<QQQQIIIIQQ")
_HEADER = 48
_MASK = (1 << 64) - 1


def command(what: str, times: int = 1) -> AppEvent:
    """An event that has something done to the process that gets it."""
    return AppEvent(COMMAND_KIND, f"<{what} {times}>".encode(), None)


def digest(event: object) -> int:
    """The hash that the oracle records for an event."""
    return _fnv(frames.encode(event)[_HEADER:])


def version_hash(version: str) -> int:
    """The hash that the oracle records of its version when it is loaded."""
    return _fnv(version.encode())


def _fnv(data: bytes) -> int:
    value = 0xCBF29CE484222325
    for byte in data:
        value = (value ^ byte) * 0x100000001B3 & _MASK
    return value


@dataclass(frozen=True, slots=True)
class Record:
    """One record."""

    ordinal: int
    stream: int
    sequence: int
    hash: int
    attempt: int
    type: int
    pid: int
    count: int
    first: int
    last: int

    def packed(self) -> bytes:
        """Its bytes in the file."""
        return _RECORD.pack(*astuple(self))


def read(path: Path) -> list[Record]:
    """All records, without one that was cut off by a kill."""
    data = path.read_bytes() if path.exists() else b""
    whole = len(data) // _RECORD.size * _RECORD.size
    return [Record(*fields) for fields in _RECORD.iter_unpack(data[:whole])]


@dataclass
class Verdict:
    """How often each invariant was broken, and some examples."""

    events: int = 0
    gaps: int = 0
    gap_events: int = 0
    repeats: int = 0
    incarnations: int = 0
    lost: int = 0
    order_violations: int = 0
    unmarked_repeats: int = 0
    hash_mismatches: int = 0
    taken: int = 0  # ordinals that came last as an event
    told: int = 0  # ordinals that came last in a GAP
    refused: int = 0  # ordinals that it refused
    examples: list[str] = field(default_factory=list)

    @property
    def good(self) -> bool:
        return not (
            self.lost or self.order_violations or self.unmarked_repeats or self.hash_mismatches
        )


class _Judge:
    """Goes through the records of one file."""

    def __init__(self, hashes: Sequence[int], *, explicit: bool) -> None:
        self.verdict = Verdict()
        self._hashes = hashes
        self._explicit = explicit
        self._seen = bytearray(len(hashes) + 1)  # 1 + how each came last
        self._acked = 0  # the plugin cannot have acknowledged more than that
        self._highest = 0
        self._expected = 0  # 0: the first of an incarnation
        self._pid = 0  # that serves
        self._loaded: set[int] = set()  # those that are loaded, and have not served yet

    def _break(self, invariant: str, what: str, count: int = 1) -> None:
        setattr(self.verdict, invariant, getattr(self.verdict, invariant) + count)
        if len(self.verdict.examples) < 10:
            self.verdict.examples.append(what)

    def take(self, r: Record) -> None:
        if r.type == LOADED:  # where reloads overlap, another one still serves
            self._loaded.add(r.pid)
            self.verdict.incarnations += 1
            return
        if r.pid in self._loaded or r.pid != self._pid:
            if r.pid not in self._loaded:
                self._break("order_violations", f"pid {r.pid} has not loaded, or served before")
            self._loaded.discard(r.pid)
            self._pid, self._expected = r.pid, 0
        if r.type == ACKING:
            self._acked = max(self._acked, r.ordinal)
        else:
            self._take_event(r, r.first if r.type == GAP else r.ordinal)

    def _take_event(self, r: Record, first: int) -> None:
        if not first <= r.ordinal <= len(self._hashes) or (r.type == GAP and r.last != r.ordinal):
            self._break("order_violations", f"pid {r.pid}: ordinal {r.ordinal}, first {first}")
            return
        self._step_over_refused(first)
        if self._expected == 0 and first > self._acked + 1:
            lost = first - self._acked - 1
            what = f"pid {r.pid} starts at {first}, acknowledged was at most {self._acked}"
            self._break("lost", what, lost)
        elif self._expected not in {0, first}:
            what = f"pid {r.pid}: ordinal {first} where {self._expected} was expected"
            self._break("order_violations", what)
        self._expected = r.ordinal + 1
        if first <= self._highest:
            self.verdict.repeats += 1
            if r.attempt <= 1:
                what = f"pid {r.pid}: ordinal {first} again, attempt {r.attempt}"
                self._break("unmarked_repeats", what)
        self._highest = max(self._highest, r.ordinal)
        if not self._explicit:
            self._acked = max(self._acked, r.ordinal)
        for ordinal in range(first, r.ordinal + 1):
            self._seen[ordinal] = 1 + r.type
        if r.type == GAP:
            self.verdict.gaps += 1
            self.verdict.gap_events += r.last - r.first + 1
            return
        self.verdict.events += 1
        if r.hash != self._hashes[r.ordinal - 1]:
            self._break("hash_mismatches", f"ordinal {r.ordinal}: another content")

    def _step_over_refused(self, first: int) -> None:
        """What was refused is not offered again, and needs no acknowledgement."""
        while self._is_refused(self._acked + 1):
            self._acked += 1
        while 0 < self._expected < first and self._is_refused(self._expected):
            self._expected += 1

    def _is_refused(self, ordinal: int) -> bool:
        return ordinal < len(self._seen) and self._seen[ordinal] == 1 + REFUSED

    def end(self) -> Verdict:
        self.verdict.taken = self._seen.count(1 + EVENT)
        self.verdict.told = self._seen.count(1 + GAP)
        self.verdict.refused = self._seen.count(1 + REFUSED)
        missing = [n for n in range(1, len(self._hashes) + 1) if not self._seen[n]]
        if missing:
            self._break("lost", f"never delivered: {missing[:5]}", len(missing))
        return self.verdict


def judge(path: Path, hashes: Sequence[int], *, explicit: bool = False) -> Verdict:
    """Check a plugin's file against what was broadcast to it.

    Args:
        path: The file.
        hashes: The hash of the event with ordinal n at index n - 1.
        explicit: The plugin acknowledges by itself; else each event when it has returned.
    """
    judgement = _Judge(hashes, explicit=explicit)
    for record in read(path):
        judgement.take(record)
    return judgement.end()


class Oracle:
    """One build of the oracle and its file."""

    def __init__(
        self,
        compile_plugin: Callable[..., Path],
        folder: Path,
        *defines: str,
        flags: int = 0,
        name: str = "oracle",
        version: str = "1",
    ) -> None:
        self.library = compile_plugin(
            "oracle.c",
            "-D_GNU_SOURCE",
            f"-DFLAGS={flags}",
            f'-DNAME="{name}"',
            f'-DVERSION="{version}"',
            *defines,
            name=name,
        )
        self.flags = flags
        self.name = name
        self.log = folder / f"{name}.records"

    def config(self, **more: object) -> dict[str, object]:
        return {
            "libpath": str(self.library),
            "log": str(self.log),
            "mode": "process",
            "obeys": 1,
            "restart": {"initial_delay": 0, "max_crashes": 0},
            **more,
        }

    @property
    def records(self) -> list[Record]:
        return read(self.log)

    @property
    def events(self) -> list[Record]:
        return [r for r in self.records if r.type in {EVENT, GAP}]

    def judge(self, hashes: Sequence[int]) -> Verdict:
        return judge(self.log, hashes, explicit=bool(self.flags & EXPLICIT_ACK))
