"""Producers: who connects to the daemon and brings events. `docs/producers.md` is the contract.

asyncio reads what they send, and stops reading where the event path has not caught up; the event
path looks at the bytes. So whoever sends rubbish, or nothing, or does not read, holds up himself.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import time
from collections import deque

from slipstream.server.sources import accepting
from slipstream.server.sources.kept import StreamState, TooManyStreams
from slipstream.server.sources.path import EventPath, Inlet, Say
from slipstream.server.sources.wire import (
    FRAME_BYTES,
    HEADER,
    MARK_MAX,
    STREAMS_MAX,
    Answer,
    BadProducer,
    frame_size,
    is_mark,
    read_mark,
    take_stream,
)
from slipstream.text import counted

PRODUCERS_MAX = 64
LARGE = 1 << 20  # bytes; a frame above this needs a place
LARGE_ROOM = 256 << 20  # bytes of large frames that may be under way at once
ANSWER_EVERY = 1 << 20  # bytes
MARK_WITHIN = 10.0  # seconds
FRAME_WITHIN = 60.0  # seconds
_LOOK_EVERY = 5.0
_READ_AHEAD = 1 << 20  # bytes
_PIECE = 256 << 10  # bytes that are looked at in one go
_ANSWERS_WAITING = 4096  # bytes of answers that nobody has read, at most
_LINES_A_MINUTE = 300


class Listener:
    """What all producers share.

    Attributes:
        producers: Those that are connected.
        large: Bytes of large frames that are under way; the event path's own.
    """

    def __init__(
        self,
        path: EventPath,
        say: Say,
        *,
        mark_within: float = MARK_WITHIN,
        frame_within: float = FRAME_WITHIN,
    ) -> None:
        """Begin without any; asyncio's thread is the one that calls.

        Args:
            path: Where events go.
            say: Takes log lines.
            mark_within: Seconds from the connection to its MARK.
            frame_within: Seconds from a frame's first byte to its last.
        """
        self.mark_within, self.frame_within = mark_within, frame_within
        self.path = path
        self.loop = asyncio.get_running_loop()
        self.producers: set[Producer] = set()
        self.connected = 0
        self.large = 0
        self._say = say
        self._lines = 0
        self._minute = 0.0
        self._servers: list[asyncio.Server] = []

    async def add(self, bound: socket.socket, name: str) -> None:
        """Listen at a socket that is bound."""
        server = await self.loop.create_server(
            lambda: Producer(self, name), sock=bound, backlog=accepting.BACKLOG
        )
        accepting.let_wait(bound)
        self._servers.append(server)

    def stop(self) -> None:
        """Take no more producers, and read nothing more of those that are there."""
        for server in self._servers:
            server.close()
        for producer in list(self.producers):
            producer.stop_reading()

    def close(self) -> None:
        """Tell the producers what is so, and close their connections."""
        for producer in list(self.producers):
            producer.answer()
            producer.end()

    def answer(self) -> None:
        """Tell each producer what has changed for it."""
        for producer in list(self.producers):
            producer.answer()

    def say(self, level: int, text: str, fields: dict[str, object]) -> None:
        """Log a line of a producer; how many there may be, is no producer's to say."""
        now = time.monotonic()
        if now - self._minute >= 60:
            if self._lines > _LINES_A_MINUTE:
                left_out = self._lines - _LINES_A_MINUTE
                text = counted(left_out, "line on producers was", "lines on producers were")
                self._say(logging.WARNING, f"{text} left out", {})
            self._lines, self._minute = 0, now
        self._lines += 1
        if self._lines <= _LINES_A_MINUTE:
            self._say(level, text, fields)


class Producer(asyncio.Protocol, Inlet):
    """One connection.

    What the event path has of it: the bytes that were not looked at, the frame that is not whole
    yet, and its streams. The rest is asyncio's.
    """

    transport: asyncio.Transport

    def __init__(self, listener: Listener, place: str) -> None:
        """Begin with nothing."""
        self.name = place
        self._listener = listener
        self._path = listener.path
        self._loop = listener.loop
        # Between the two threads. Only asyncio adds, only the event path takes away.
        self._chunks: deque[bytes] = deque()
        self._added = 0
        self._taken = 0
        self._is_paused = False
        self._at_end = False
        self._is_lost = False  # nothing of it is looked at any more
        # The event path's.
        self._parts: list[bytes] = []
        self._have = 0
        self._need = len(HEADER)
        self._offset = 0  # of the first byte of `parts`, from the connection's start
        self._began = False
        self._streams: dict[int, StreamState] = {}
        self._current: StreamState | None = None
        self._since_answer = 0
        self._large = 0
        self._repeated = 0
        self._is_done = False  # its end was seen, and nothing is left
        self._waits_since = self._connected = time.monotonic()
        # asyncio's.
        self._answered: dict[int, Answer] = {}
        self._timer: asyncio.TimerHandle | None = None

    # ---- asyncio ----------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take it in, unless there are too many."""
        assert isinstance(transport, asyncio.Transport)  # noqa: S101 - for mypy
        self.transport = transport
        peer = transport.get_extra_info("peername")
        if isinstance(peer, tuple):
            self.name = f"{peer[0]}:{peer[1]}"
        listener = self._listener
        if len(listener.producers) >= PRODUCERS_MAX or self._path.is_stopping:
            said: dict[str, object] = {"producer": self.name, "connected": len(listener.producers)}
            listener.say(logging.WARNING, "one producer too many was turned away", said)
            self._is_lost = True
            transport.abort()
            return
        listener.connected += 1
        self.name = f"{self.name}#{listener.connected}"
        listener.producers.add(self)
        transport.set_write_buffer_limits(high=_ANSWERS_WAITING, low=0)
        self._timer = self._loop.call_later(listener.mark_within, self._look)

    def data_received(self, data: bytes) -> None:
        """Keep it for the event path; stop reading where that is behind."""
        if self._is_lost:
            return
        self._chunks.append(data)
        self._added += len(data)
        if self._added - self._taken >= _READ_AHEAD and not self._is_paused:
            self._is_paused = True
            self.transport.pause_reading()
        self._path.wake(self)

    def eof_received(self) -> bool:
        """Go on answering."""
        self._at_end = True
        self._path.wake(self)
        return True

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - it does not matter why
        """What has come is still delivered."""
        self._listener.producers.discard(self)
        if self._timer is not None:
            self._timer.cancel()
        self._at_end = True
        self._path.wake(self)

    def resume_writing(self) -> None:
        """What was left out can be told now."""
        self.answer()

    def stop_reading(self) -> None:
        """Take nothing more from it."""
        self._is_paused = True
        if not self.transport.is_closing():
            self.transport.pause_reading()

    def end(self) -> None:
        """Close it, once what was written has gone out."""
        if not self.transport.is_closing():
            self.transport.close()

    def answer(self) -> None:
        """Tell what has changed, unless it has not read what it was told."""
        if self.transport.is_closing():
            return
        for stream, state in list(self._streams.items()):
            answer = Answer(stream, state.accepted, state.settled, state.dead, state.told)
            if answer == self._answered.get(stream):
                continue
            if self.transport.get_write_buffer_size() >= _ANSWERS_WAITING:
                return
            self._answered[stream] = answer
            self.transport.write(answer.encode())
        if self._is_done and all(s.settled >= s.accepted for s in list(self._streams.values())):
            self.end()

    def _answer_mark(self, stream: int) -> None:
        """Answer a mark, also where nothing has changed."""
        self._answered.pop(stream, None)
        self.answer()

    def _look(self) -> None:
        """Close it if it keeps the daemon waiting."""
        now = time.monotonic()
        mark, frame = self._listener.mark_within, self._listener.frame_within
        if not (self._chunks or self._is_paused or self._is_done):  # else the daemon is behind
            if self._current is None and now - self._connected >= 0.99 * mark:
                self._drop("no MARK slipstream.stream came in time", {"seconds": mark})
                return
            if self._have and now - self._waits_since >= frame:
                self._drop("a frame was begun and not ended in time", {"seconds": frame})
                return
        self._timer = self._loop.call_later(min(_LOOK_EVERY, frame / 8), self._look)

    def _drop(self, why: str, fields: dict[str, object]) -> None:
        """Log a line, and close it."""
        self._is_lost = True
        if self.transport.is_closing():
            return
        self.answer()
        self._listener.say(
            logging.WARNING,
            "a producer was closed",
            {"producer": self.name, "reason": why} | fields,
        )
        self.end()
        # What it sent and nobody read would keep the socket open, and answers from going out.
        self._loop.call_later(1.0, self.transport.abort)

    def _resume_reading(self) -> None:
        if self._is_paused and not self.transport.is_closing() and not self._path.is_stopping:
            self._is_paused = False
            self.transport.resume_reading()

    # ---- The event path -----------------------------------------------------------------------

    def work(self) -> bool:
        """Send what is whole."""
        if self._is_lost:
            self._forget()
            return False
        took = 0
        while self._chunks and took < _PIECE:
            data = self._chunks.popleft()
            took += len(data)
            if not self._have:
                self._waits_since = time.monotonic()
            self._parts.append(data)
            self._have += len(data)
        self._taken += took
        if self._is_paused and self._added - self._taken < _READ_AHEAD // 2:
            self._loop.call_soon_threadsafe(self._resume_reading)
        if self._have >= self._need:
            self._waits_since = time.monotonic()
            self._look_at(b"".join(self._parts) if len(self._parts) > 1 else self._parts[0])
        if took and self._since_answer >= ANSWER_EVERY:
            self._since_answer = 0
            self._loop.call_soon_threadsafe(self.answer)
        if self._chunks:
            return True
        if self._at_end and not self._is_done:
            self._finish()
        return False

    def fail(self, error: Exception) -> None:
        """Close it: a frame may not be there, or something is wrong here."""
        where: dict[str, object] = {}
        what = f"internal error: {error!r}"
        if isinstance(error, BadProducer):
            what, where = error.what, {"byte": error.at}
            self._path.figures.bad += 1
        self._is_lost = True
        self._forget()
        self._loop.call_soon_threadsafe(self._drop, what, where)

    def _finish(self) -> None:
        if self._have:
            raise BadProducer("it ended inside of a frame", self._offset)
        self._is_done = True
        for state in self._streams.values():
            if state.owner is self:
                state.owner = None
        self._loop.call_soon_threadsafe(self.answer)
        self._tell_end()

    def _tell_end(self) -> None:
        said: dict[str, object] = {"producer": self.name}
        if self._repeated:
            said["repeated"] = self._repeated
        self._loop.call_soon_threadsafe(
            self._listener.say, logging.INFO, "a producer has ended", said
        )

    def _forget(self) -> None:
        """Give back what it holds."""
        self._chunks.clear()
        self._parts.clear()
        self._have = 0
        self._listener.large -= self._large
        self._large = 0
        for state in self._streams.values():
            if state.owner is self:
                state.owner = None

    def _look_at(self, data: bytes) -> None:
        """Send the whole frames that `data` starts with, and keep the rest."""
        at = 0
        if not self._began:
            if data[: len(HEADER)] != HEADER:
                raise BadProducer("it does not begin as a capture of version 1")
            self._began = True
            at = len(HEADER)
        try:
            while len(data) - at >= FRAME_BYTES:
                size = frame_size(data, at)
                if len(data) - at < size:
                    break
                if is_mark(data, at):
                    self._take_mark(data[at : at + size])
                    at += size
                else:
                    at = self._take_events(data, at)
        except BadProducer as error:
            raise BadProducer(error.what, self._offset + max(at, error.at)) from None
        self._keep(data, at)

    def _keep(self, data: bytes, at: int) -> None:
        self._offset += at
        self._parts = [data[at:]] if at < len(data) else []
        self._have = len(data) - at
        self._need = FRAME_BYTES
        if self._have >= 4:
            try:
                self._need = max(FRAME_BYTES, frame_size(data, at))
            except BadProducer as error:
                raise BadProducer(error.what, self._offset) from None
            if self._current is None and self._need > MARK_MAX:
                raise BadProducer("no MARK slipstream.stream before the first event", self._offset)
        listener = self._listener
        listener.large -= self._large
        self._large = 0
        if self._need > LARGE:
            if listener.large + self._need > LARGE_ROOM:
                raise BadProducer("too many large frames are under way", self._offset)
            self._large = self._need
            listener.large += self._need

    def _take_mark(self, frame: bytes) -> None:
        named = read_mark(frame)
        if named is None:
            return
        stream, producer = named
        state = self._streams.get(stream)
        if state is None:
            if len(self._streams) >= STREAMS_MAX:
                raise BadProducer(f"more than {STREAMS_MAX} streams on one connection")
            try:
                state = self._path.streams.get(stream)
            except TooManyStreams:
                raise BadProducer("the daemon keeps no more streams") from None
        other = state.owner
        if isinstance(other, Producer) and other is not self:
            other.lose(stream)
        state.owner = self
        is_new = self._current is None
        self._streams = {**self._streams, stream: state}  # asyncio may be looking at the old one
        self._current = state
        self._loop.call_soon_threadsafe(self._answer_mark, stream)
        if is_new:
            said = {"producer": self.name, "stream": f"{stream:016x}", "calls_itself": producer}
            said["from"] = str(state.accepted)
            text = "a producer has begun"
            if not stream:
                text += "; its events have no numbers, so it cannot resume after a break"
            shown: dict[str, object] = {key: value for key, value in said.items() if value}
            self._loop.call_soon_threadsafe(self._listener.say, logging.INFO, text, shown)

    def lose(self, stream: int) -> None:
        """Another connection has taken a stream over; called on the event path."""
        self._is_lost = True
        self._forget()
        why = "another connection has taken its stream over"
        said: dict[str, object] = {"stream": f"{stream:016x}"}
        self._loop.call_soon_threadsafe(self._drop, why, said)

    def _take_events(self, data: bytes, at: int) -> int:
        """Send the events from here to the next mark; return where that is."""
        state = self._current
        if state is None:
            raise BadProducer("no MARK slipstream.stream before the first event", at)
        found = take_stream(data, at, state.stream, state.accepted)
        for piece in found.pieces:
            self._path.send(state, data, piece)
        self._since_answer += found.end - at
        if found.repeated:
            self._repeated += found.repeated
            self._path.figures.repeated += found.repeated
        if found.problem:
            raise BadProducer(found.problem, found.end)
        if found.end == at:
            raise BadProducer("an event of a stream that the last MARK has not named", at)
        return found.end
