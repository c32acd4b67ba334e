"""Files of dead letters: each event behind a mark that says whose it is and why it was refused.

A mark's name is ``slipstream.dead-letter`` and becomes ``slipstream.redelivered``, in its place
and of the same length, once its event was offered again and is settled: so nobody who appends to
the file meanwhile is disturbed.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import msgspec

from slipstream import _native, frames
from slipstream.errors import CaptureError
from slipstream.events import Event, EventKind, Mark
from slipstream.streams.event_file import STDIN, EventFile
from slipstream.text import printable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from slipstream.streams.reader import Warn

DEAD_LETTER = b"slipstream.dead-letter"
REDELIVERED = b"slipstream.redelivered"

_MARK = EventKind.MARK.to_bytes(2, "little")


class DeadLetter(msgspec.Struct, frozen=True):
    """What a mark says of the event behind it.

    Attributes:
        plugin: The plugin's name.
        version: Its version.
        digest: SHA-256 of its library, in hexadecimal.
        ordinal: The event's number for that plugin.
        status: What the plugin answered; None where it crashed.
        text: The plugin's own words, or what happened.
        attempts: How often it was delivered.
        time: When it was given up, in nanoseconds since 1970 UTC.
    """

    plugin: str
    version: str = ""
    digest: str = ""
    ordinal: int = 0
    status: int | None = None
    text: str = ""
    attempts: int = 0
    time: int = 0

    @property
    def said(self) -> str:
        """It in one line for people."""
        status = "it crashed" if self.status is None else _native.status_name(self.status)
        words = f": {printable(self.text)}" if self.text else ""
        return (
            f"dead letter of {self.plugin} {self.version}, ordinal {self.ordinal}, "
            f"attempt {self.attempts}: {status}{words}"
        )


_decoder = msgspec.json.Decoder(DeadLetter)


def dead_letter_of(mark: Mark) -> DeadLetter | None:
    """Return what a mark says of a dead letter; None if it is another mark, or unreadable."""
    if mark.name not in (DEAD_LETTER, REDELIVERED):
        return None
    try:
        return _decoder.decode(mark.body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None


class DeadLetterFile(EventFile):
    """The dead letters of one plugin, as a file of events that may be sent.

    What is appended after it was opened is not read: the plugin may refuse an event again.

    Attributes:
        plugin: Whose letters are wanted.
        is_wanted: Tells whether that plugin takes a kind.
        left: Letters that are not offered, by reason.
    """

    plugin: str = ""
    is_wanted: Callable[[int], bool] = staticmethod(lambda _kind: True)

    def __init__(self, path: str | os.PathLike[str], *, on_warning: Warn) -> None:
        """Open it, as `EventFile` does.

        Raises:
            CaptureError: As there; or what is redelivered could not be marked in it.
        """
        super().__init__(path, on_warning=on_warning)
        self.left: dict[str, int] = {}
        self._names: list[int] = []
        is_file = self.size is not None and os.fspath(path) != STDIN
        if not is_file or not self._is_capture():
            self.close()
            what = "holds JSON lines, not a capture" if is_file else "is not a regular file"
            raise CaptureError(
                f"{self.name} {what}: what is redelivered cannot be marked in it",
                "name the plugin's own file of dead letters: DATA_DIR/NAME/dead-letters.slip",
            )

    def playable(self) -> Iterator[bytes]:
        """Yield the events of the plugin's dead letters, as they were.

        Raises:
            CaptureError: As when iterating.
        """
        mark: Event | None = None
        at = 0
        for frame in self:
            if self.size is not None and self.position > self.size:
                return
            if frame[6:8] == _MARK:
                mark, at = frames.decode(frame)[0], self.position - len(frame)
                continue
            reason = self._refusal(mark, frame)
            mark = None
            if reason:
                self.left[reason] = self.left.get(reason, 0) + 1
                continue
            self._names.append(at)
            yield frame

    def _refusal(self, mark: Event | None, frame: bytes) -> str:
        """Why the event behind a mark is not offered; "" if it is."""
        letter = dead_letter_of(mark) if isinstance(mark, Mark) else None
        if letter is None or not isinstance(mark, Mark):
            return "no dead letter"
        kind = int.from_bytes(frame[6:8], "little")
        if mark.name == REDELIVERED:
            return "redelivered before"
        if letter.plugin != self.plugin:
            return f"of plugin {letter.plugin}"
        if kind in frames.HOST_ONLY or frame[8] & frames.ROUTED:
            return "a gap or a routed payload"
        return "" if self.is_wanted(kind) else f"not subscribed to {frames.kind_name(kind)}"

    def settle(self) -> int:
        """Mark in the file what was offered: it is settled, and is not offered again.

        Returns:
            How many they are.

        Raises:
            CaptureError: The file cannot be written.
        """
        if not self._names:
            return 0
        try:
            descriptor = os.open(self._file.name, os.O_RDWR | os.O_CLOEXEC)
            try:
                for at in self._names:
                    head = os.pread(descriptor, 64, at)
                    payload = at + int.from_bytes(head[4:6], "little")
                    span = os.pread(descriptor, 4, payload + 8)
                    os.pwrite(descriptor, REDELIVERED, payload + int.from_bytes(span, "little"))
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
        except OSError as error:
            raise CaptureError(
                f"cannot mark in {self.name} what was redelivered: {error.strerror}",
                "let this user write the file; until then the same events are offered again",
            ) from None
        return len(self._names)
