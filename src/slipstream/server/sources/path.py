"""The event path: one thread that takes what the sources have, in turn, and sends it on.

It alone broadcasts. What it waits for, room in a plugin's ring, is waited for by nobody else.
"""

from __future__ import annotations

import logging
import threading
import time
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, TypeAlias

from slipstream.errors import BroadcastError, ClosedError, FrameError
from slipstream.server.sources.settle import PluginSubscriber, Settler, Subscriber
from slipstream.server.sources.wire import BadProducer, Piece, head_of

if TYPE_CHECKING:
    from slipstream.loaded import Plugin
    from slipstream.manager import PluginManager
    from slipstream.server.sources.kept import Streams, StreamState

Say: TypeAlias = Callable[[int, str, dict[str, object]], None]

_NOTE_EVERY = 0.01  # seconds


class Sink(Protocol):
    """Where events go."""

    def send(self, run: memoryview) -> None:
        """Send a run of frames.

        Raises:
            FrameError: One is refused; those before it were sent.
        """

    def subscribers(self) -> Iterable[Subscriber]:
        """Return who gets events at present."""


class PluginSink:
    """The plugins of a manager."""

    def __init__(self, manager: PluginManager, say: Say) -> None:
        """Send to all plugins that are loaded at that moment."""
        self._manager = manager
        self._say = say
        self._known: dict[Plugin, PluginSubscriber] = {}
        self._last_told = 0.0

    def send(self, run: memoryview) -> None:
        """Send a run of frames."""
        try:
            self._manager.broadcast_frames(run)
        except BroadcastError as error:  # the plugin gets a GAP, all others the event
            if time.monotonic() - self._last_told > 60:
                self._last_told = time.monotonic()
                self._say(logging.WARNING, "an event did not reach a plugin", _told(error))

    def subscribers(self) -> list[Subscriber]:
        """Return the plugins."""
        plugins = list(self._manager.plugins.values())
        known = self._known
        self._known = {p: known.get(p) or PluginSubscriber(p) for p in plugins}
        return list(self._known.values())


def _told(error: FrameError | BroadcastError) -> dict[str, object]:
    return {"problem": error.message, "next": error.hint}


class Inlet(ABC):
    """A source as the event path sees it.

    Attributes:
        queued: It stands in line; the path's own.
    """

    queued: bool = False

    @abstractmethod
    def work(self) -> bool:
        """Send some of what is there; say whether there is more. On the event path."""

    @abstractmethod
    def fail(self, error: Exception) -> None:
        """Its work has raised this. On the event path."""


@dataclass(slots=True)
class Figures:
    """What went by. Written by the event path alone."""

    events: int = 0
    bytes: int = 0
    repeated: int = 0
    bad: int = 0


class EventPath:
    """The thread, its line of sources, and the notes that it makes.

    Attributes:
        streams: All that are known.
        settler: Gets the notes.
        figures: What went by.
        beats: Grows with each piece of work.
        is_busy: It works at this moment.
    """

    def __init__(
        self,
        sink: Sink,
        streams: Streams,
        on_note: Callable[[], None],
        on_fail: Callable[[Exception], None],
    ) -> None:
        """Make the thread; `start` starts it.

        Args:
            sink: Where events go.
            streams: All that are known.
            on_note: Called on the thread, whenever something was noted.
            on_fail: Called on the thread, if it ends for a mistake of its own.
        """
        self.streams = streams
        self.settler = Settler()
        self.figures = Figures()
        self.beats = 0
        self.is_busy = False
        self._sink = sink
        self._on_note = on_note
        self._on_fail = on_fail
        self._line: deque[Inlet] = deque()
        self._turn = threading.Condition()
        self._is_stopping = False
        self._sent: dict[StreamState, int] = {}
        self._noted = 0.0
        self._thread = threading.Thread(target=self._run, name="slipstream-events", daemon=True)

    def start(self) -> None:
        """Let events go out."""
        self._thread.start()

    def wake(self, inlet: Inlet) -> None:
        """There is something to do for this source."""
        with self._turn:
            if not inlet.queued and not self._is_stopping:
                inlet.queued = True
                self._line.append(inlet)
                self._turn.notify()

    @property
    def is_stopping(self) -> bool:
        """No further event goes out."""
        return self._is_stopping

    def stop(self) -> None:
        """Send nothing more: what is under way ends, what waits is left."""
        with self._turn:
            self._is_stopping = True
            self._turn.notify()

    def join(self, seconds: float) -> bool:
        """Wait for the end of the thread; say whether it came."""
        if self._thread.ident is not None:
            self._thread.join(seconds)
        return not self._thread.is_alive()

    def send(self, state: StreamState, data: bytes | bytearray, piece: Piece) -> None:
        """Send new events of one stream.

        Args:
            state: The stream's.
            data: Holds them.
            piece: Where.

        Raises:
            BadProducer: One is refused; where in `data`. Those before it were sent.
            ClosedError: The daemon ends; nothing of this was accepted.
        """
        try:
            with memoryview(data) as view, view[piece.start : piece.end] as run:
                self._sink.send(run)
        except FrameError as error:
            bad = piece.start + error.offset
            if error.index:
                self._accept(state, _last_before(data, piece.start, bad, state), error.index)
            raise BadProducer(error.message.partition(": ")[2], bad) from None
        self._accept(state, piece.last, piece.count)
        self.figures.bytes += piece.end - piece.start

    def _accept(self, state: StreamState, last: int, count: int) -> None:
        state.accepted = last
        self.figures.events += count
        self._sent[state] = last

    # ---- The thread -----------------------------------------------------------------------

    def _run(self) -> None:
        try:
            self._serve()
        except Exception as error:  # noqa: BLE001 - nobody else would hear of it
            self._on_fail(error)

    def _serve(self) -> None:
        while (inlet := self._next()) is not None:
            self.is_busy = True
            inlet.queued = False
            try:
                more = inlet.work()
            except ClosedError:
                more = False
            except Exception as error:  # noqa: BLE001 - the source's, and of no other
                more = False
                inlet.fail(error)
            if more:
                self.wake(inlet)
            if self._sent and time.monotonic() - self._noted >= _NOTE_EVERY:
                self._note()
            self.beats += 1
            self.is_busy = False
        self._note()

    def _next(self) -> Inlet | None:
        while True:
            with self._turn:
                if self._is_stopping:
                    return None
                if self._line:
                    return self._line.popleft()
                if not self._sent:
                    self._turn.wait()
                    continue
            self._note()  # nothing is behind it

    def _note(self) -> None:
        if self._sent:
            sent, self._sent = self._sent, {}
            self.settler.note(sent, self._sink.subscribers())
            self._noted = time.monotonic()
            self._on_note()


def _last_before(data: bytes | bytearray, at: int, end: int, state: StreamState) -> int:
    """Return the sequence of the last frame before `end`."""
    last = state.accepted
    while at < end:
        size, _, _, _, _, _, sequence = head_of(data, at)
        last = sequence or last + 1
        at += size
    return last
