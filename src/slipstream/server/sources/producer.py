"""A producer: sends a file to a daemon, and goes on where it was after a break."""

from __future__ import annotations

import select
import socket
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from slipstream.errors import SlipstreamError
from slipstream.server.sources.addresses import Address
from slipstream.server.sources.pace import Pace, Speed
from slipstream.server.sources.wire import (
    HEADER,
    Answer,
    BadProducer,
    answer_size,
    head_of,
    read_answer,
    stream_mark,
    take_stream,
)
from slipstream.streams import EventFile

CONNECT_WITHIN = 10.0  # seconds
PATIENCE = 60.0  # seconds without headway, after which it gives up


class NotSettled(SlipstreamError):
    """A daemon could not be brought to take everything."""


class _Broken(Exception):
    """The connection is of no use any more."""


@dataclass
class Connection:
    """One connection to a daemon.

    Attributes:
        answers: The last of each stream.
    """

    socket: socket.socket
    answers: dict[int, Answer] = field(default_factory=dict)
    is_over: bool = False
    _read: bytes = b""

    def send(self, data: bytes | memoryview, until: Callable[[], float]) -> None:
        """Send all of it, and read what is answered meanwhile.

        Args:
            data: The bytes.
            until: Gives the time until which there has to be headway.
        """
        left = memoryview(data)
        while left:
            readable, writable, _ = select.select([self.socket], [self.socket], [], 1.0)
            if readable:
                self.read()
                if self.is_over:
                    raise _Broken("the daemon has closed the connection; its log says why")
            if writable:
                left = left[self.socket.send(left) :]
            elif time.monotonic() > until():
                raise _Broken(f"the daemon has taken nothing for {PATIENCE:g} seconds")

    def wait(self, seconds: float) -> None:
        """Wait so long for an answer, and read it."""
        if select.select([self.socket], [], [], max(0.0, seconds))[0]:
            self.read()

    def read(self) -> None:
        """Read the answers that are there."""
        data = self.socket.recv(1 << 16)
        self.is_over = not data
        self._read += data
        while len(self._read) >= 4 and len(self._read) >= answer_size(self._read):
            size = answer_size(self._read)
            answer = read_answer(self._read)
            self.answers[answer.stream] = answer
            self._read = self._read[size:]


class FileProducer:
    """Sends a file to a daemon until all of it is settled.

    Attributes:
        sent: How many events were sent, those that were sent again among them.
        answers: The last of each stream.
    """

    def __init__(self, file: str, to: Address, speed: Speed, warn: Callable[[str], None]) -> None:
        """Name the file and the daemon.

        Args:
            file: A file of events; standard input cannot be sent twice.
            to: Where the daemon listens.
            speed: How fast.
            warn: Gets a sentence of what is doubtful.
        """
        self.sent = 0
        self.answers: dict[int, Answer] = {}
        self._file = file
        self._to = to
        self._speed = speed
        self._warn = warn
        self._headway = time.monotonic()

    def run(self) -> None:
        """Send it.

        Whoever does not listen at the first try is not waited for; a daemon that was there, and
        has broken the connection, may be starting again.

        Raises:
            CaptureError: The file cannot be read.
            NotSettled: Nobody listens there, or there was no headway for a minute.
        """
        pause, was_there = 0.1, False
        while True:
            seen = self._position()
            try:
                with self._to.connect(CONNECT_WITHIN) as connected:
                    was_there = True
                    connected.setblocking(False)  # noqa: FBT003 - its only argument
                    self._once(Connection(connected))
            except (OSError, _Broken, BadProducer) as error:
                if self._position() != seen:
                    self._headway, pause = time.monotonic(), 0.1
                is_busy = isinstance(error, BlockingIOError | TimeoutError)
                if isinstance(error, OSError) and error.strerror:
                    error = _Broken(error.strerror)
                too_late = self._file == "-" or time.monotonic() - self._headway > PATIENCE
                if not was_there and (too_late or not is_busy):
                    raise NotSettled(
                        f"cannot connect to {self._to}: {error}",
                        f"start the daemon first: slipstream start --listen {self._to}; "
                        "or correct --to",
                    ) from None
                if too_late:
                    raise NotSettled(
                        f"{self._to} did not take everything: {error}",
                        "look at the daemon's log and at its plugins; then run this again, "
                        "which goes on where it was",
                    ) from None
                what = f"the connection to {self._to} broke"
                if not was_there:
                    what = f"{self._to} is too busy for a connection"
                self._warn(f"{what}, trying again: {error}")
            else:
                return
            time.sleep(pause)
            pause = min(2 * pause, 5.0)

    def _position(self) -> list[tuple[int, int]]:
        return [(answer.accepted, answer.settled) for answer in self.answers.values()]

    def _until(self) -> float:
        return self._headway + PATIENCE

    def _once(self, to: Connection) -> None:
        to.answers = self.answers
        named: dict[int, int] = {}  # of each stream: the last that was sent
        current = -1
        to.send(HEADER, self._until)
        with EventFile(self._file, on_warning=self._warn) as file:
            for stream, run, last in self._runs(file):
                if stream != current:
                    current = stream
                    self._name(to, stream, named)
                found = take_stream(run, 0, stream, named[stream])
                with memoryview(run) as view:
                    for piece in found.pieces:
                        to.send(view[piece.start : piece.end], self._until)
                        self.sent += piece.count
                self._headway = time.monotonic()
                named[stream] = max(named[stream], last)
        to.socket.shutdown(socket.SHUT_WR)
        self._settle(to, named)

    def _runs(self, file: EventFile) -> Iterator[tuple[int, bytes, int]]:
        """Yield runs of one stream each, with their last sequence, in time."""
        pace = Pace(self._speed)
        before = 0
        for run in file.runs(self._speed.run_bytes):
            pace.hold(run, file.count - before)
            before = file.count
            at = start = 0
            while at < len(run):
                stream = head_of(run, at)[5]
                last = 0
                while at < len(run):
                    size, _, _, _, _, of, sequence = head_of(run, at)
                    if of != stream:
                        break
                    last = max(last, sequence)
                    at += size
                yield stream, run[start:at], last
                start = at

    def _name(self, to: Connection, stream: int, named: dict[int, int]) -> None:
        """Say of which stream the next events are; where it is new, hear what is there."""
        to.send(stream_mark(stream, "slipstream replay"), self._until)
        if stream in named:
            return
        self.answers.pop(stream, None)
        end = time.monotonic() + CONNECT_WITHIN
        while stream not in to.answers:
            if to.is_over or time.monotonic() > end:
                raise _Broken("the daemon gave no answer")
            to.wait(end - time.monotonic())
        named[stream] = to.answers[stream].accepted
        if not stream:
            self._warn("events without a stream cannot be resumed after a break")

    def _settle(self, to: Connection, named: dict[int, int]) -> None:
        """Wait until the daemon has settled everything."""
        while not to.is_over:
            seen = self._position()
            to.wait(1.0)
            if self._position() != seen:
                self._headway = time.monotonic()
            if time.monotonic() > self._until():
                raise _Broken(f"nothing was settled for {PATIENCE:g} seconds")
        for stream, last in named.items():
            if stream and to.answers[stream].settled < last:
                raise _Broken("the daemon closed the connection before everything was settled")
