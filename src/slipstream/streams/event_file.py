"""Files of events: captures and JSON lines, told apart by what they hold."""

from __future__ import annotations

import io
import os
import stat
from pathlib import Path
from typing import TYPE_CHECKING, Self

from slipstream import capture
from slipstream.errors import CaptureError
from slipstream.events import EventKind
from slipstream.frames import HOST_ONLY, RECORDED
from slipstream.streams.reader import LINE_MAX, TO_UTF8, LineReader, Unreadable, Warn
from slipstream.text import counted, printable

if TYPE_CHECKING:
    from collections.abc import Iterator

STDIN = "-"

_BUFFER = 1 << 20
_BOM = b"\xef\xbb\xbf"
_GAP = EventKind.GAP.to_bytes(2, "little")
_HOST_ONLY = frozenset(kind.to_bytes(2, "little") for kind in HOST_ONLY)
_FOREIGN = (
    (b"\xff\xfe", f"it is UTF-16 or UTF-32: {TO_UTF8}"),
    (b"\xfe\xff", f"it is UTF-16: {TO_UTF8}"),
    (b"\0{", f"it is UTF-16: {TO_UTF8}"),
    (b"\0\0\0{", f"it is UTF-32: {TO_UTF8.replace('-16', '-32')}"),
    (b"{\0", f"it is UTF-16 or UTF-32: {TO_UTF8}"),
    (b"\x1f\x8b", "it is compressed: gzip -dc FILE | slipstream run ... -"),
    (b"\x28\xb5\x2f\xfd", "it is compressed: zstd -dc FILE | slipstream run ... -"),
    (b"\x7fELF", "it is a library or a program; slipstream doctor FILE looks at a plugin"),
)


class EventFile:
    """A file of events, opened for reading once from its start to its end; a context manager.

    Iterating yields frames as they stand in the file, gaps included. Needs memory for one
    frame and a buffer, however long the file is.

    Attributes:
        name: For messages.
        size: The file's size in bytes when it was opened; None for a pipe or a terminal.
        position: How many bytes were read.
        count: How many frames were yielded.
    """

    def __init__(self, path: str | os.PathLike[str], *, on_warning: Warn) -> None:
        """Open a file and, unless it is a pipe, look at its first bytes.

        Args:
            path: A capture or JSON lines; ``-`` is standard input.
            on_warning: Gets a sentence when something in the file is left out.

        Raises:
            CaptureError: It cannot be opened, or is neither.
        """
        is_stdin = os.fspath(path) == STDIN
        self.name = "standard input" if is_stdin else printable(os.fspath(path))
        self.size: int | None = None
        self.position = 0
        self.count = 0
        self._warn = on_warning
        self._warned = False
        self._folder = None if is_stdin else Path(path).absolute().parent
        try:
            raw = io.FileIO(0 if is_stdin else path, closefd=not is_stdin)
        except (OSError, ValueError) as error:
            reason = error.strerror if isinstance(error, OSError) else error
            raise CaptureError(
                f"cannot open {self.name}: {reason}",
                "name a capture or a .jsonl file that this user may read, or - for standard input",
            ) from None
        self._file = io.BufferedReader(raw, _BUFFER)
        status = os.fstat(raw.fileno())
        if stat.S_ISREG(status.st_mode):
            self.size = status.st_size
            try:
                self._is_capture()
            except OSError as error:
                self.close()
                raise self._broken(error) from None
            except BaseException:
                self.close()
                raise

    def close(self) -> None:
        """Close the file; standard input stays open."""
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __iter__(self) -> Iterator[bytes]:
        """Yield the frames.

        Raises:
            CaptureError: A line or frame cannot be read, or there is no event at all. All
                before it were yielded.
        """
        try:
            if self._is_capture():
                capture.read_header(self._file, self.name)
                self.position = len(capture.HEADER)
                for frame in capture.read_frames(self._file, self.name):
                    self.position += len(frame)
                    self.count += 1
                    yield frame
            else:
                yield from self._lines()
        except OSError as error:
            raise self._broken(error) from None
        if not self.count:
            raise self._empty()

    def playable(self) -> Iterator[bytes]:
        """Yield the frames that may be sent: marked as recorded, without gaps and marks.

        Raises:
            CaptureError: As when iterating.
        """
        return filter(None, map(self._played, self))

    def runs(self, enough: int) -> Iterator[bytes]:
        """Yield the same frames in runs of about so many bytes, and sooner.

        What comes through a pipe may be live: no event waits there for the next.

        Raises:
            CaptureError: As when iterating; what came before was yielded.
        """
        try:
            if self._is_capture():
                yield from _joined(self.playable(), 1 if self.size is None else enough)
            else:
                yield from filter(None, self._line_runs(enough))
        except OSError as error:
            raise self._broken(error) from None
        if not self.count:
            raise self._empty()

    def _played(self, frame: bytes) -> bytes | None:
        if frame[6:8] in _HOST_ONLY:
            if not self._warned and frame[6:8] == _GAP:
                self._warned = True
                self._warn(f"{self.name}: gaps are left out: they tell of another host's loss")
            return None
        return frame if frame[8] & RECORDED else _marked(frame)

    def _is_capture(self) -> bool:
        """Tell by the first byte, which is all that a pipe promises to show at once."""
        start = self._file.peek()[:16]
        if start[:1] == capture.MAGIC[:1]:
            return True
        if (
            (start[:1] == b"{" and start[1:2] != b"\0")
            or start[:1].isspace()
            or start[:1] == _BOM[:1]
        ):
            return False
        if not start:
            raise self._empty()
        hints = (hint for magic, hint in _FOREIGN if start.startswith(magic))
        raise CaptureError(
            f"{self.name} is neither a capture nor JSON lines: it starts with {start!r}",
            next(hints, "name a capture, or a file with one JSON object on each line"),
        )

    def _broken(self, error: OSError) -> CaptureError:
        return CaptureError(
            f"cannot read {self.name} at byte {self.position}: {error.strerror}",
            "check the disk or the program that writes it",
        )

    def _empty(self) -> CaptureError:
        what = "is empty" if self.position == 0 else "holds no event"
        hint = "check the file's name and whether its writer has run"
        if self._folder is None:
            hint = "check the program that writes to it, or name a file instead of -"
        return CaptureError(f"{self.name} {what}", hint)

    def _reader(self) -> LineReader:
        return LineReader(self._folder, lambda text: self._warn(f"{self.name}: {printable(text)}"))

    def _lines(self) -> Iterator[bytes]:
        reader = self._reader()
        readline = self._file.readline
        number = 0
        while line := readline(LINE_MAX):
            number += 1
            if (frame := self._line(reader, line, number)) is not None:
                yield frame

    def _line(self, reader: LineReader, line: bytes, number: int) -> bytes | None:
        """The frame of a line that is read to the letter."""
        try:
            if len(line) == LINE_MAX and line[-1:] != b"\n":
                raise Unreadable(f"longer than {LINE_MAX} bytes", "no event is that large")
            frame = reader.frame(line.removeprefix(_BOM) if number == 1 else line)
        except Unreadable as error:
            good = counted(self.count, "event before it is", "events before it are")
            raise CaptureError(
                f"{self.name}, line {number}: {printable(error.message)}",
                f"{error.hint}; the {good} good" if self.count else error.hint,
            ) from None
        self.position += len(line)
        self.count += frame is not None
        return frame

    def _line_runs(self, enough: int) -> Iterator[bytes | None]:
        reader = self._reader()
        number = at = 0
        text = b""
        while True:
            run, end, count = reader.run(text, at, enough)
            if count:
                number += count
                self.count += count
                self.position += end - at
                at = end
                yield run
                continue
            end = text.find(b"\n", at, at + LINE_MAX) + 1
            if not end and len(text) - at < LINE_MAX:
                more = self._file.read1(max(_BUFFER, len(text) - at))
                if more:
                    text, at = text[at:] + more, 0
                    continue
                if at == len(text):
                    return
            line = text[at : end or at + LINE_MAX]
            at += len(line)
            number += 1
            frame = self._line(reader, line, number)
            yield None if frame is None else self._played(frame)


def _joined(some: Iterator[bytes], enough: int) -> Iterator[bytes]:
    """Yield them in runs of about `enough` bytes; before an error, what came before it."""
    run: list[bytes] = []
    length = 0
    problem: CaptureError | None = None
    try:
        for frame in some:
            run.append(frame)
            length += len(frame)
            if length >= enough:
                yield b"".join(run)
                run, length = [], 0
    except CaptureError as error:
        problem = error
    if run:
        yield b"".join(run)
    if problem is not None:
        raise problem


def _marked(frame: bytes) -> bytes:
    return b"%b%c%b" % (frame[:8], frame[8] | RECORDED, frame[9:])


def read_events(path: str | os.PathLike[str], *, on_warning: Warn) -> Iterator[bytes]:
    """Yield the frames of a file of events, ready to be sent.

    Each has the flag RECORDED. JSON lines without `stream` get one that is named by the
    line it starts with, so that it is the same on each run and also when the file has grown.

    Args:
        path: A capture or JSON lines; ``-`` is standard input.
        on_warning: Gets a sentence when something in the file is left out.

    Raises:
        CaptureError: The file cannot be opened or read; all events before the place that
            the message names were yielded.
    """
    with EventFile(path, on_warning=on_warning) as file:
        yield from file.playable()
