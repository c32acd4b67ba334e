"""The plugin tests/plugins/gated.c: its gate, and what it has written."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from slipstream import GapReason

KINDS = 0xFFFFFFFF0000001F


class Told(NamedTuple):
    """A GAP as the plugin got it."""

    reason: GapReason
    first: int
    last: int
    count: int
    kinds: int
    first_height: int
    last_height: int


class Seen(NamedTuple):
    """An event as the plugin got it."""

    ordinal: int
    attempt: int
    kind: int
    height: int
    sequence: int
    length: int
    time_ns: int


class Gated:
    """One build of the plugin, with its own files."""

    def __init__(
        self,
        compile_plugin: Callable[..., Path],
        folder: Path,
        *,
        name: str = "gated",
        version: str = "1",
        flags: int = 0,
        kinds: int = KINDS,
    ) -> None:
        self.library = compile_plugin(
            "gated.c",
            f'-DNAME="{name}"',
            f'-DVERSION="{version}"',
            f"-DFLAGS={flags}",
            f"-DKINDS={kinds}ull",
            name=name,
        )
        self.name = name
        self.log = folder / f"{name}.log"
        self.gate = folder / f"{name}.gate"
        self.waiting = folder / f"{name}.waiting"
        self.busy = folder / f"{name}.busy"

    def config(self, **more: object) -> dict[str, object]:
        return {
            "libpath": str(self.library),
            "log": str(self.log),
            "gate": str(self.gate),
            "waiting": str(self.waiting),
            "busy": str(self.busy),
            **more,
        }

    def let_pass(self, ordinal: int) -> None:
        """Let events pass up to this one."""
        fresh = self.gate.with_suffix(".fresh")
        fresh.write_text(f"{ordinal}\n")
        fresh.replace(self.gate)

    def open(self) -> None:
        self.gate.unlink(missing_ok=True)

    def wait_at_gate(self) -> None:
        wait_until(self.waiting.exists, "nobody at the gate")

    @property
    def lines(self) -> list[list[str]]:
        text = self.log.read_text() if self.log.exists() else ""
        return [line.split() for line in text.splitlines()]

    def of(self, call: str) -> list[list[str]]:
        return [line for line in self.lines if line[0] == call]

    @property
    def events(self) -> list[Seen]:
        return [Seen(*map(int, line[1:])) for line in self.of("event")]

    @property
    def order(self) -> list[int | Told]:
        """Ordinals of events, and gaps, as they came."""
        found: list[int | Told] = []
        for line in self.lines:
            if line[0] == "event":
                found.append(int(line[1]))
            elif line[0] == "gap":
                reason, *rest = map(int, line[3:10])
                found.append(Told(GapReason(reason), *rest))
                assert int(line[1]) == rest[1]
        return found

    @property
    def places(self) -> list[tuple[int, ...]]:
        """Of each gap: the stream of what was lost, its first and its last sequence."""
        return [tuple(map(int, line[10:])) for line in self.of("gap")]

    @property
    def gaps(self) -> list[Told]:
        return [one for one in self.order if isinstance(one, Told)]


# Seconds that anything may take on a machine that is busy with other things. What takes longer
# hangs; no test waits that long unless it fails.
PATIENCE = 240.0


def wait_until(condition: Callable[[], object], what: str, timeout: float = PATIENCE) -> None:
    end = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < end, what
        time.sleep(0.002)
