"""``slipstream top``: the plugins of a running daemon, live."""

from __future__ import annotations

import contextlib
import json
import os
import select
import sys
import textwrap
import time
from collections import deque
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import click

from slipstream.errors import SlipstreamError
from slipstream.text import printable

from ._daemon import reaches_daemon
from ._output import emit

if TYPE_CHECKING:
    from slipstream.server.client import Client

_KEPT = 60
_BLOCKS = "▁▂▃▄▅▆▇█"
_PLAIN = "_.-=+*#@"
_IN, _OUT = "\x1b[?1049h\x1b[?25l", "\x1b[?25h\x1b[?1049l"
_WIDE = {"plugin": -15, "state": -11, "ev/s": 7, "lag": 7, "p50": 6, "p99": 6, "rst": 4}
"""How wide each column is; a negative one is aligned to the left."""
_SPARED = ("p50", "rst", "p99", "lag", "ev/s")  # what a narrow screen goes without, in this order
_LEAST_RATE = 4  # columns of the rate, below which it is left out
_UNITS = ((1e9, "s"), (1e6, "ms"), (1e3, "us"), (1, "ns"))
_COLOURS = {"running": "green", "paused": "cyan", "loading": "cyan", "unloading": "cyan"}


@click.command(epilog="Example: slipstream top --interval 0.5")
@click.option(
    "--interval",
    type=click.FloatRange(0.1, 3600.0),
    default=1.0,
    show_default=True,
    metavar="SECONDS",
    help="The time between two looks.",
)
@click.option(
    "--count", type=click.IntRange(1), metavar="N", help="End after N looks; without it q ends it."
)
@reaches_daemon
def top(*, client: Client, as_json: bool, interval: float, count: int | None) -> None:
    """Show state, events a second, lag, callback times and restarts of each plugin, live.

    Keys: q quits, the arrows scroll. A narrow screen goes without some columns: first p50, then
    rst, p99, lag and ev/s. If standard output is no terminal, each look is written below the one
    before. With --json each look is one object on a line.
    """
    watched = Watched(client)
    looks = range(count) if count is not None else iter(int, 1)
    if as_json or not sys.stdout.isatty():
        end = time.monotonic()
        for number, _ in enumerate(looks):
            if number:
                time.sleep(max(0.0, end - time.monotonic()))
            end = time.monotonic() + interval
            watched.look()
            if watched.problem is not None:
                raise watched.problem
            emit(json.dumps(watched.as_json()) + "\n" if as_json else watched.text() + "\n")
        return
    with _screen() as keys:
        for _ in looks:
            watched.look()
            if not _shown_until(watched, keys, time.monotonic() + interval):
                return


class Watched:
    """What was seen of the plugins, and how it changes.

    Attributes:
        rows: What is shown of each plugin.
        problem: Why the daemon does not answer; None if it does.
        first: The first row on the screen.
    """

    def __init__(self, client: Client) -> None:
        """Watch the plugins of a daemon."""
        self._client = client
        self._before: dict[str, dict[str, Any]] = {}
        self._at = 0.0
        self._rates: dict[str, deque[float]] = {}
        self.rows: list[dict[str, Any]] = []
        self.problem: SlipstreamError | None = None
        self.first = 0

    def look(self) -> None:
        """Ask the daemon."""
        try:
            found = self._client.plugins()
        except SlipstreamError as error:
            self.problem = error
            return
        now, self.problem = time.monotonic(), None
        past = now - self._at
        self.rows = [self._row(one, past) for one in found]
        self._before = {one["name"]: one for one in found}
        self._rates = {name: self._rates[name] for name in self._before}
        self._at = now

    def _row(self, one: dict[str, Any], past: float) -> dict[str, Any]:
        name, counters = one["name"], one["counters"]
        before = self._before.get(name)
        rate, buckets = 0.0, one["callback"]["buckets"]
        if before is not None:
            rate = max(0, counters["acknowledged"] - before["counters"]["acknowledged"]) / past
            late = [a - b for a, b in zip(buckets, before["callback"]["buckets"], strict=True)]
            buckets = late if sum(late) > 0 and min(late) >= 0 else buckets
        rates = self._rates.setdefault(name, deque(maxlen=_KEPT))
        if before is not None:
            rates.append(rate)
        return {
            "name": name,
            "state": one["state"],
            "reason": one["reason"],
            "events_per_second": round(rate, 1),
            "lag": counters["lag"],
            "callback_p50_ns": _quantile(buckets, 0.5),
            "callback_p99_ns": _quantile(buckets, 0.99),
            "restarts": one["restarts"],
        }

    def as_json(self) -> dict[str, Any]:
        """Return what was seen last."""
        return {"time": time.time(), "network": self._client.network, "plugins": self.rows}

    def text(self, columns: int = 80, lines: int = 0, *, is_screen: bool = False) -> str:
        """Return what was seen last.

        Args:
            columns: How wide it may be.
            lines: How high; 0: as high as it is.
            is_screen: In colour.
        """
        marks = _BLOCKS if (sys.stdout.encoding or "").lower().startswith("utf") else _PLAIN
        now = time.strftime("%H:%M:%S", time.gmtime())
        calm = sum(row["state"] == "running" for row in self.rows)
        head = f"slipstream top - {now} UTC - {calm} of {len(self.rows)} running"
        out = [head + ("   q quits" if is_screen else "")]
        if self.problem is not None:
            out += textwrap.wrap(self.problem.message, max(20, columns))
        names = _columns(columns)
        left = columns - len(_line(names, {})) - 1
        wide = left if left >= _LEAST_RATE else 0
        out.append(_line(names, {name: name for name in names}) + (" rate" if wide else ""))
        body: list[tuple[str, str]] = []
        for row in self.rows:
            rates = list(self._rates[row["name"]])[-wide:] if wide else []
            body.append((row["state"], f"{_line(names, _cells(row))} {_spark(rates, marks)}"))
            reason = textwrap.wrap(row["reason"], max(20, columns - 4))
            body += [("", f"    {line}") for line in reason]
        if lines:
            room = max(1, lines - len(out))
            self.first = max(0, min(self.first, len(body) - room))
            body = body[self.first : self.first + room]
        shown = [printable(line)[:columns] for line in out]
        for state, line in body:
            cut = printable(line)[:columns]
            if is_screen and state and not os.environ.get("NO_COLOR"):
                coloured = click.style(cut[16:27], fg=_COLOURS.get(state, "red"))
                cut = cut[:16] + coloured + cut[27:]
            shown.append(cut)
        return "\n".join(shown)


def _columns(columns: int) -> list[str]:
    """Return the names of the columns that a screen has room for."""
    names = list(_WIDE)
    for spared in _SPARED:
        if len(_line(names, {})) > columns:
            names.remove(spared)
    return names


def _line(names: list[str], cells: dict[str, str]) -> str:
    return " ".join(
        f"{cells.get(name, ''):{'<' if _WIDE[name] < 0 else '>'}{abs(_WIDE[name])}}"
        for name in names
    )


def _cells(row: dict[str, Any]) -> dict[str, str]:
    return {
        "plugin": row["name"][:15],
        "state": row["state"],
        "ev/s": _short(row["events_per_second"]),
        "lag": _short(row["lag"]),
        "p50": _time(row["callback_p50_ns"]),
        "p99": _time(row["callback_p99_ns"]),
        "rst": _short(row["restarts"]),
    }


def _short(number: float) -> str:
    for size, unit in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e4, "k")):
        if number >= size:
            return f"{number / (1000 if unit == 'k' else size):.3g}{unit}"
    return f"{number:.0f}" if number >= 10 or number == int(number) else f"{number:.1f}"


def _time(ns: int | None) -> str:
    if ns is None:
        return "-"
    size, unit = next(((size, unit) for size, unit in _UNITS if ns >= size), _UNITS[-1])
    return f"{ns / size:.3g}{unit}"


def _quantile(buckets: list[int], share: float) -> int | None:
    """Return the upper end of the bucket in which it lies, in nanoseconds; None: no call."""
    want, seen = sum(buckets) * share, 0
    for number, count in enumerate(buckets):
        seen += count
        if count and seen >= want:
            return int(2**number)
    return None


def _spark(rates: list[float], marks: str) -> str:
    most = max(rates, default=0.0)
    if not most:
        return marks[0] * len(rates)
    return "".join(marks[min(7, int(rate / most * 7.999))] for rate in rates)


def _shown_until(watched: Watched, keys: int, end: float) -> bool:
    """Show what was seen and obey keys; False: it is enough."""
    while True:
        columns, lines = os.get_terminal_size(sys.stdout.fileno())
        text = watched.text(columns, lines, is_screen=True).replace("\n", "\x1b[K\r\n")
        emit(f"\x1b[H{text}\x1b[K\x1b[J")
        left = end - time.monotonic()
        if left <= 0:
            return True
        try:
            ready, _, _ = select.select([keys], [], [], left)
        except InterruptedError:
            continue  # the window has another size
        pressed = os.read(keys, 64) if ready else b""
        if ready and (not pressed or pressed[:1] in {b"q", b"Q", b"\x04"}):
            return False
        watched.first += (pressed in {b"\x1b[B", b"j"}) - (pressed in {b"\x1b[A", b"k"})
        watched.first = max(0, watched.first)


@contextlib.contextmanager
def _screen() -> Iterator[int]:
    """Take the terminal's other screen, and its keys as they are pressed; give both back."""
    import signal  # noqa: PLC0415 - these are for a terminal alone
    import termios  # noqa: PLC0415
    import tty  # noqa: PLC0415

    keys = os.open("/dev/tty", os.O_RDONLY | os.O_CLOEXEC)
    old = termios.tcgetattr(keys)

    def stop(number: int, _frame: object) -> None:
        raise SystemExit(128 + number)

    handled = (signal.SIGTERM, signal.SIGHUP)
    before = [signal.signal(one, stop) for one in handled]
    try:
        tty.setcbreak(keys)
        emit(_IN)
        yield keys
    finally:
        with contextlib.suppress(OSError, termios.error):
            termios.tcsetattr(keys, termios.TCSADRAIN, old)
        with contextlib.suppress(click.exceptions.Exit, OSError):
            emit(_OUT)
        os.close(keys)
        for one, was in zip(handled, before, strict=True):
            signal.signal(one, was)
