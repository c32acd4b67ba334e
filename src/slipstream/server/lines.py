"""The last log lines of each plugin, and those that come."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
from collections import OrderedDict, deque
from collections.abc import AsyncIterator, Callable
from dataclasses import asdict, dataclass

from slipstream.logs import fields_of

KEPT = 1000
_TEXT_MAX = 4096
_NAMES = 256  # plugins whose lines are kept
_LOOK = 1.0  # seconds after which a follower looks whether it goes on
_PULSE = 10  # so many looks after which it hears that it is still connected


@dataclass(frozen=True, slots=True)
class Line:
    """One line.

    Attributes:
        number: From 1, for each plugin.
        time: When it was made, seconds since 1970 UTC.
        level: As ``INFO``.
        text: The line.
        fields: What it says beside its text.
    """

    number: int
    time: float
    level: str
    text: str
    fields: dict[str, object]

    def as_json(self) -> dict[str, object]:
        """Return it for JSON."""
        return asdict(self)


class _Follower:
    def __init__(self, name: str | None) -> None:
        self.name = name
        self._loop = asyncio.get_running_loop()
        self._event = asyncio.Event()
        self._told = False

    def tell(self) -> None:
        """Wake it, from any thread; once, until it has looked."""
        if not self._told:
            self._told = True
            with contextlib.suppress(RuntimeError):  # its loop has ended
                self._loop.call_soon_threadsafe(self._event.set)

    async def wait(self, seconds: float) -> bool:
        """Wait until it was told; False if nobody has for so long."""
        try:
            async with asyncio.timeout(seconds):
                await self._event.wait()
        except TimeoutError:
            return False
        self._event.clear()
        self._told = False
        return True


class Lines(logging.Handler):
    """Keeps the last lines of each plugin; attached to the logger ``slipstream`` until closed.

    Lines of plugins of the same name in different managers are not told apart.
    """

    aside = True  # it shows nothing to anybody, so warnings still go to standard error

    def __init__(self, kept: int = KEPT) -> None:
        """Keep lines from now on.

        Args:
            kept: So many of each plugin.
        """
        super().__init__()
        self._kept = kept
        self._lines: OrderedDict[str, deque[Line]] = OrderedDict()
        self._counts: dict[str, int] = {}
        self.followers: set[_Follower] = set()
        logging.getLogger("slipstream").addHandler(self)

    def emit(self, record: logging.LogRecord) -> None:
        """Keep a line; called by one thread at a time."""
        fields = fields_of(record)
        name = fields.pop("plugin", None)
        if not isinstance(name, str):
            return
        kept = self._lines.get(name)
        if kept is None:
            kept = self._lines[name] = deque(maxlen=self._kept)
            while len(self._lines) > _NAMES:
                forgotten, _ = self._lines.popitem(last=False)
                self._counts.pop(forgotten, None)
        number = self._counts[name] = self._counts.get(name, 0) + 1
        text = record.getMessage()[:_TEXT_MAX]
        said = {key: _plain(value) for key, value in fields.items()}
        kept.append(Line(number, record.created, record.levelname, text, said))
        self.wake(name)

    def close(self) -> None:
        """Keep nothing more, and let followers look whether they go on."""
        logging.getLogger("slipstream").removeHandler(self)
        super().close()
        self.wake(None)

    def wake(self, name: str | None) -> None:
        """Let the followers of a plugin look, or all of them."""
        for follower in list(self.followers):
            if name is None or follower.name == name:
                follower.tell()

    def last(self, name: str, count: int) -> list[Line]:
        """Return the last lines of a plugin."""
        return list(self._lines.get(name, ()))[-count:] if count else []

    async def follow(
        self, name: str, count: int, after: int | None, goes_on: Callable[[], bool]
    ) -> AsyncIterator[bytes]:
        """Yield lines as server-sent events, those that are there first.

        Args:
            name: The plugin's.
            count: So many of the last ones.
            after: Instead: all that are kept behind this number.
            goes_on: Asked now and then.
        """
        follower = _Follower(name)
        self.followers.add(follower)
        try:
            seen, quiet = after, 0
            some = self.last(name, count)
            if seen is None:
                seen = some[0].number - 1 if some else self._counts.get(name, 0)
            while True:
                for line in self.last(name, self._kept):
                    if line.number > seen:
                        if line.number > seen + 1:
                            yield _event({"lost": line.number - seen - 1}, "lost")
                        yield _event(line.as_json(), "line", line.number)
                        seen = line.number
                if not goes_on():
                    yield _event({}, "end")
                    return
                quiet = 0 if await follower.wait(_LOOK) else quiet + 1
                if quiet and quiet % _PULSE == 0:
                    yield b": \n\n"
        finally:
            self.followers.discard(follower)


def _event(data: dict[str, object], kind: str, number: int = 0) -> bytes:
    head = f"id: {number}\n" if number else ""
    return f"{head}event: {kind}\ndata: {json.dumps(data)}\n\n".encode()


def _plain(value: object) -> object:
    if value is None or isinstance(value, bool | int | str):
        return value
    return str(value)
