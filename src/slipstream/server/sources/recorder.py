"""Recording: a capture in the place of plugins. What is on the disk is settled."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from slipstream.capture import create, open_for_append
from slipstream.errors import SlipstreamError
from slipstream.server.sources import accepting
from slipstream.server.sources.addresses import Address, unbind
from slipstream.server.sources.files import FileSource
from slipstream.server.sources.kept import Streams
from slipstream.server.sources.listen import Listener
from slipstream.server.sources.pace import Speed
from slipstream.server.sources.path import EventPath, PluginSink, Say
from slipstream.server.sources.settle import Look, Subscriber
from slipstream.server.sources.settling import Settling
from slipstream.server.sources.wire import with_times


class CaptureSink:
    """A capture that gets all events.

    Attributes:
        problem: What the disk has said.
    """

    def __init__(self, path: Path, *, append: bool = False, say: Say | None = None) -> None:
        """Open it.

        Args:
            path: The file.
            append: It may be there already; else a new one is made.
            say: Takes a line when the disk takes no more.

        Raises:
            CaptureError: It cannot be had.
        """
        self._file = os.fdopen(open_for_append(path), "ab") if append else create(path)
        self._path, self._say = path, say
        self._written = self._synced = 0
        self.problem: OSError | None = None

    def send(self, run: memoryview) -> None:
        """Append a run of frames; after a failure nothing more, and nothing more is settled."""
        self.write(with_times(run, time.time_ns()))

    def write(self, run: memoryview) -> None:
        """Append frames that have times."""
        self._written += len(run)
        if self.problem is None:
            try:
                self._file.write(run)
            except OSError as error:
                self._fail(error)

    def subscribers(self) -> list[CaptureSink]:
        """Return itself, who alone gets events."""
        return [self]

    def accepted(self) -> int:
        """Return how many bytes were written."""
        return self._written

    @property
    def is_begun(self) -> bool:
        """Whether any event is on the disk."""
        return self._synced > 0

    def look(self) -> Look:
        """Say how many of them are on the disk, and see to it that they are."""
        written = self._written
        if written != self._synced and self.problem is None:
            try:
                self._file.flush()
                os.fdatasync(self._file.fileno())
                self._synced = written
            except OSError as error:
                self._fail(error)
        return Look(self._synced)

    def _fail(self, error: OSError) -> None:
        self.problem = error
        if self._say is not None:
            said: dict[str, object] = {
                "file": str(self._path),
                "problem": error.strerror,
                "next": "make room, and start the daemon again: what is not settled comes again",
            }
            self._say(
                logging.ERROR, "events are not recorded any more, and so none is settled", said
            )

    def close(self) -> None:
        """Write out what is buffered."""
        with contextlib.suppress(OSError):
            self.look()
            self._file.close()


class Both:
    """Plugins, and a capture of what they get."""

    def __init__(self, plugins: PluginSink, capture: CaptureSink) -> None:
        """Take both."""
        self._plugins = plugins
        self._capture = capture

    def send(self, run: memoryview) -> None:
        """Record a run of frames, and send it, with the times that are recorded."""
        stamped = with_times(run, time.time_ns())
        self._capture.write(stamped)
        self._plugins.send(stamped)

    def subscribers(self) -> list[Subscriber]:
        """Return both: what is not recorded is not settled."""
        return [self._capture, *self._plugins.subscribers()]


def _internal(error: Exception) -> SlipstreamError:
    return SlipstreamError(f"internal error: {error!r}", "report it")


async def _until(stop: asyncio.Event, sink: CaptureSink) -> None:
    """Wait for the end, or for a disk that takes nothing more."""
    while not stop.is_set() and sink.problem is None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(0.5):
                await stop.wait()


async def record(
    source: Address | str, sink: CaptureSink, say: Say, on_start: Callable[[str], None]
) -> int:
    """Record until the source ends, or a signal comes.

    Args:
        source: Where to listen, or a file.
        sink: The capture.
        say: Takes log lines.
        on_start: Gets the address at which it listens.

    Returns:
        How many events were recorded.

    Raises:
        SlipstreamError: The source is no good, or the disk is full.
    """
    loop = asyncio.get_running_loop()
    accepting.tell_of_shortage(loop, say)
    stop = asyncio.Event()
    problem: list[SlipstreamError] = []
    streams = Streams(None)

    def ended(error: SlipstreamError | None) -> None:
        if error is not None:
            problem.append(error)
        loop.call_soon_threadsafe(stop.set)

    def noted() -> None:
        settling.wake()

    path = EventPath(sink, streams, noted, lambda error: ended(_internal(error)))
    listener = Listener(path, say)
    writer = ThreadPoolExecutor(1, "slipstream-record")
    settling = Settling(path.settler, streams, writer, listener.answer, say)
    task = loop.create_task(settling.run())
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)

    bound = source.bind() if isinstance(source, Address) else None
    made = source.file_id() if isinstance(source, Address) else None
    try:
        path.start()
        if bound is not None:
            await listener.add(bound, "unix")
            on_start(str(source))
        else:
            file = FileSource(str(source), path, loop=False, speed=Speed(), say=say, on_end=ended)
            file.start()
        await _until(stop, sink)
        listener.stop()
        path.stop()
        path.join(10.0)
        await settling.once()
        listener.close()
        await asyncio.sleep(0)  # the last answers go out
    finally:
        task.cancel()
        writer.shutdown(wait=False)
        if bound is not None and isinstance(source, Address):
            unbind(bound, source, made)
    if sink.problem is not None:
        raise sink.problem
    if problem:
        raise problem[0]
    return path.figures.events
