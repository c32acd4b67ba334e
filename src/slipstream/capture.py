"""Captures: files of frames.

Layout: 16 bytes of file header (``93 53 4C 49 50 43 41 50``, that is 0x93 and "SLIPCAP", then
u32 version 1 and u32 0, little-endian), then frames, one behind the other, as everywhere.
A file that ends inside a frame was cut off, by a full disk or a kill in the middle of a
write; everything before that frame is good.
"""

from __future__ import annotations

import mmap
import os
import stat
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Self

from slipstream import _platform
from slipstream._native import lib
from slipstream.errors import CaptureError
from slipstream.text import counted

if TYPE_CHECKING:
    from collections.abc import Iterator

MAGIC = b"\x93SLIPCAP"
VERSION = 1
HEADER = MAGIC + VERSION.to_bytes(4, "little") + bytes(4)

_FRAME_HEADER: int = lib.SLIPSTREAM_FRAME_HEADER_LEN
_FRAME_MAX: int = lib.SLIPSTREAM_FRAME_MAX


def read_header(file: BinaryIO, name: str) -> None:
    """Read a capture's header.

    Args:
        file: Open at its start.
        name: For messages.

    Raises:
        CaptureError: It is no capture, or of a version that is not known here.
    """
    header = file.read(len(HEADER))
    if header[: len(MAGIC)] != MAGIC or len(header) < len(HEADER):
        raise CaptureError(
            f"{name} is not a capture: it does not start with {MAGIC!r}",
            "captures are written by slipstream; JSON lines have the ending .jsonl",
        )
    version = int.from_bytes(header[len(MAGIC) : len(MAGIC) + 4], "little")
    if version != VERSION:
        raise CaptureError(
            f"{name} is a capture of version {version}, this program reads version {VERSION}",
            "update slipstream",
        )


def read_frames(file: BinaryIO, name: str) -> Iterator[bytes]:
    """Yield the frames of a capture whose header was read.

    Only the frames' lengths are checked here; decoding and sending check the rest.

    Args:
        file: Open, after the header.
        name: For messages.

    Raises:
        CaptureError: The file ends inside of a frame, or a length in it is impossible. All
            frames before that one were yielded.
    """
    offset = len(HEADER)
    number = 0
    while head := file.read(4):
        size = int.from_bytes(head, "little")
        if len(head) == 4 and not (_FRAME_HEADER <= size <= _FRAME_MAX and size % 8 == 0):
            raise CaptureError(
                f"{name}: frame {number}, at byte {offset}, claims a length of {size}",
                "the file is damaged from there on; the "
                f"{counted(number, 'frame before it is', 'frames before it are')} good",
            )
        frame = head + file.read(size - 4) if len(head) == 4 else head
        if len(head) < 4 or len(frame) < size:
            raise CaptureError(
                f"{name}: cut off inside of frame {number}, at byte {offset}",
                "its writer was stopped in the middle; the "
                f"{counted(number, 'frame before it is', 'frames before it are')} good",
            )
        yield frame
        offset += size
        number += 1


def create(path: Path) -> BinaryIO:
    """Create a capture for this user alone and write its header; nothing is overwritten.

    Args:
        path: The file.

    Returns:
        It, open for writing.

    Raises:
        CaptureError: It cannot be created.
    """
    try:
        file = os.fdopen(_platform.create_private(path), "wb")
    except OSError as error:
        raise CaptureError(
            f"cannot create {path}: {error.strerror}", "choose another file name"
        ) from None
    file.write(HEADER)
    return file


class CaptureWriter:
    """Writes frames to a new capture; a context manager."""

    def __init__(self, path: Path) -> None:
        """Create the file; an existing one is not overwritten.

        Raises:
            CaptureError: It cannot be created.
        """
        self._file = create(path)

    def write(self, frames: bytes) -> None:
        """Append whole frames."""
        self._file.write(frames)

    def close(self) -> None:
        """Write out what is buffered and close the file."""
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class DamagedCapture(CaptureError):
    """A capture that makes no sense from some place on, and is not merely cut off there."""


def open_for_append(path: Path) -> int:
    """Open a capture for appending frames, and create it where it is missing.

    What a crash or a full disk has left at its end is removed, so that what is appended can be
    read: a frame that was cut off, bytes that were never written, a MARK of a dead letter
    without its event. Nobody else can open it so as long as it is open.

    Args:
        path: The file.

    Returns:
        A descriptor, opened with O_APPEND; the caller closes it.

    Raises:
        CaptureError: The file cannot be opened or written to, is no capture, or is somebody
            else's at present.
        DamagedCapture: It is damaged.
    """
    descriptor = -1
    try:
        descriptor = _platform.open_for_append(path)
        _lock(descriptor, path)
        with os.fdopen(os.dup(descriptor), "rb") as file:
            start = file.read(len(HEADER))
            if len(start) < len(HEADER) and HEADER.startswith(start):
                os.ftruncate(descriptor, 0)
                os.write(descriptor, HEADER)
            else:
                file.seek(0)
                read_header(file, str(path))
                os.ftruncate(descriptor, _whole_length(file, str(path)))
    except OSError as error:
        if descriptor >= 0:
            os.close(descriptor)
        raise CaptureError(
            f"cannot open {path}: {error.strerror}",
            "check that its folder exists, that this user may write there, and that there is room",
        ) from None
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def _lock(descriptor: int, path: Path) -> None:
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        raise CaptureError(f"{path} is not a regular file", "choose another file name")
    try:
        _platform.lock(descriptor)
    except OSError:
        raise CaptureError(
            f"cannot open {path}: another plugin or host appends to it",
            "give each its own file",
        ) from None


_LETTER_MARK = b"slipstream.dead-letter"


def _whole_length(file: BinaryIO, name: str) -> int:
    """The length of the file without what was cut off at its end; open behind the header."""
    end = os.fstat(file.fileno()).st_size
    offset = len(HEADER)
    mark = -1  # where a MARK stands whose event should follow
    with mmap.mmap(file.fileno(), end, access=mmap.ACCESS_READ) as data:
        while offset + _FRAME_HEADER <= end:
            size = int.from_bytes(data[offset : offset + 4], "little")
            if not _FRAME_HEADER <= size <= _FRAME_MAX or size % 8:
                if not any(data[at : at + 4096].strip(b"\0") for at in range(offset, end, 4096)):
                    break  # room was made for it, and then it was not written
                raise DamagedCapture(
                    f"{name}: the frame at byte {offset} claims a length of {size}",
                    "the file is damaged from there on; move it away and start a new one",
                )
            if offset + size > end:
                break
            is_mark = data[offset + 6] == lib.SLIPSTREAM_KIND_MARK
            mark = offset if is_mark and _LETTER_MARK in data[offset : offset + 128] else -1
            offset += size
    return offset if mark < 0 else mark
