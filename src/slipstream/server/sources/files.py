"""Files of events, and standard input, as a daemon's source."""

from __future__ import annotations

import itertools
import logging
import threading
from collections import deque
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from slipstream.errors import CaptureError, SlipstreamError
from slipstream.server.sources.pace import Pace, Speed
from slipstream.server.sources.path import EventPath, Inlet, Say
from slipstream.server.sources.wire import BadProducer, head_of, move_sequences, take_stream
from slipstream.streams import EventFile

if TYPE_CHECKING:
    from slipstream.server.sources.kept import StreamState

_AHEAD = 8  # runs that are read and not sent


class FileSource(Inlet):
    """A file, read by a thread of its own: it may be a pipe, and it may have to keep a speed."""

    def __init__(  # noqa: PLR0913 - the options of a source
        self,
        name: str,
        path: EventPath,
        *,
        loop: bool,
        speed: Speed,
        say: Say,
        on_end: Callable[[SlipstreamError | None], None],
    ) -> None:
        """Make it; `start` starts it.

        Args:
            name: The file; ``-`` is standard input.
            path: Where the events go.
            loop: Begin again at its end, with sequences that go on.
            speed: How fast.
            say: Takes log lines.
            on_end: Called at its end, with what went wrong; on some thread.
        """
        self.name = name
        self._path = path
        self._loop = loop
        self._speed = speed
        self._say = say
        self._on_end = on_end
        self._runs: deque[bytes] = deque()
        self._room = threading.Semaphore(_AHEAD)
        self._stop = threading.Event()
        self._end: SlipstreamError | None = None
        self._is_read = False
        self._is_told = False
        self._size: int | None = None  # for a loop: of the file when its sequences were looked at
        self._unnumbered: StreamState | None = None
        self._events = 0
        self._repeated = 0
        self._thread = threading.Thread(target=self._read, name="slipstream-file", daemon=True)

    def start(self) -> None:
        """Let it be read."""
        self._thread.start()

    def stop(self) -> None:
        """Read nothing more."""
        self._stop.set()
        self._room.release()

    # ---- The thread that reads ------------------------------------------------------------------

    def _read(self) -> None:
        try:
            for run in self._all_runs():
                self._room.acquire()
                if self._stop.is_set():
                    return
                self._runs.append(run)
                self._path.wake(self)
        except SlipstreamError as error:
            self._end = error
        except Exception as error:  # noqa: BLE001 - told, where else it would end silently
            self._end = CaptureError(f"cannot read {self.name}: {error!r}")
        self._is_read = True
        self._path.wake(self)

    def _warn(self, text: str) -> None:
        self._say(logging.WARNING, text, {})

    def _all_runs(self) -> Iterator[bytes]:
        pace = Pace(self._speed, self._stop.wait)
        span = self._span() if self._loop else 0
        first = self._passes_done(span) if span else 0
        for number in itertools.count(first):
            with EventFile(self.name, on_warning=self._warn) as file:
                if span and file.size != self._size:  # sequences of two passes would be the same
                    raise CaptureError(
                        f"{self.name} has changed while it was sent in a loop", "start it again"
                    )
                before = 0
                for run in file.runs(self._speed.run_bytes):
                    pace.hold(run, file.count - before)
                    before = file.count
                    if self._stop.is_set():
                        return
                    yield bytes(move_sequences(run, number * span)) if number else run
            if not self._loop:
                return

    def _span(self) -> int:
        """By how much sequences grow with each pass: the highest in the file."""
        self._seen: set[int] = set()
        highest = 0
        with EventFile(self.name, on_warning=lambda _: None) as file:
            self._size = file.size
            for frame in file.playable():
                _, _, _, _, _, stream, sequence = head_of(frame)
                self._seen.add(stream)
                highest = max(highest, sequence)
        return highest

    def _passes_done(self, span: int) -> int:
        """How often all of it was accepted before this start."""
        states = self._path.streams.states
        done = [states[s].accepted if s in states else 0 for s in self._seen if s]
        return min(done) // span if done else 0

    # ---- The event path -------------------------------------------------------------------------

    def work(self) -> bool:
        """Send the next run."""
        if self._runs:
            data = self._runs.popleft()
            self._room.release()
            self._send(data)
        if self._runs:
            return True
        if self._is_read and not self._is_told:
            self._is_told = True
            self._tell_end()
        return False

    def fail(self, error: Exception) -> None:
        """End it: what is behind a bad event would be taken for complete."""
        self.stop()
        self._runs.clear()
        if not self._is_told:
            self._is_told = True
            what = error.what if isinstance(error, BadProducer) else repr(error)
            self._on_end(
                CaptureError(
                    f"{self.name}: an event after the first {self._events} cannot be sent: {what}",
                    "slipstream show FILE names the first bad frame",
                )
            )

    def _send(self, data: bytes) -> None:
        at = 0
        while at < len(data):
            stream = head_of(data, at)[5]
            state = self._state(stream)
            found = take_stream(data, at, stream, state.accepted)
            for piece in found.pieces:
                self._path.send(state, data, piece)
                self._events += piece.count
            self._repeated += found.repeated
            self._path.figures.repeated += found.repeated
            if found.problem or found.end == at:
                raise BadProducer(found.problem or "a frame is cut off", found.end)
            at = found.end

    def _state(self, stream: int) -> StreamState:
        if stream:
            return self._path.streams.get(stream)
        if self._unnumbered is None:
            self._unnumbered = self._path.streams.get(0)
            self._warn(f"{self.name}: events without a stream cannot be resumed after a restart")
        return self._unnumbered

    def _tell_end(self) -> None:
        said: dict[str, object] = {"source": self.name, "events": self._events}
        if self._repeated:
            said["settled_before"] = self._repeated
        if self._end is None:
            self._say(logging.INFO, "the source of events is at its end", said)
        self._on_end(self._end)
