"""From lines to frames."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path, PurePosixPath
from typing import TypeAlias

import msgspec

from slipstream import _native, frames
from slipstream.errors import AleoFormatError, FrameError, SlipstreamError
from slipstream.events import EventKind, Span
from slipstream.files import FileProblem, read_small
from slipstream.frames import HOST_ONLY
from slipstream.streams.fields import (
    FORMS,
    KINDS,
    KNOWN_KINDS,
    SHAPES,
    AnyLine,
    Line,
    Shape,
    usual_lines,
)
from slipstream.text import read_hex

LINE_MAX: int = 3 * _native.lib.SLIPSTREAM_FRAME_MAX
"""The longest line in bytes: the largest frame in hexadecimal, and room for texts."""

Warn: TypeAlias = Callable[[str], None]

TO_UTF8 = "convert it: iconv -f UTF-16 -t UTF-8 FILE"

_HEIGHT_NONE: int = 2**64 - 1
_FORM = "see the files in examples/streams for the form of a line"


class Unreadable(SlipstreamError):
    """A line is no event; whoever knows the file and the line's number says where."""


class LineReader:
    """Makes frames of lines, one after the other.

    Where a line has no stream and no sequence, they follow from the lines before it.
    """

    def __init__(self, folder: Path | None, warn: Warn) -> None:
        """Start a file.

        Args:
            folder: Where the files that `block_file` names are, or the folder above it is;
                None looks for none.
            warn: Gets a sentence when something is left out; once for each cause.
        """
        self._folder = folder
        self._warn = warn
        self._warned: set[str] = set()
        self._stream = 0
        self._last = 0
        self._usual = usual_lines()
        self._place_of = _native.ffi.new("ss_lines_place *")
        self._decode: Callable[[bytes], Line] = msgspec.json.Decoder(AnyLine).decode

    def run(self, text: bytes, at: int, enough: int) -> tuple[bytes, int, int]:
        """Return the frames of the lines that are as nearly all are; what is not is for `frame`.

        Args:
            text: Whole lines, and perhaps the beginning of one more.
            at: Where in it the next line starts.
            enough: How many bytes of frames are.

        Returns:
            The frames, one behind the other; where the first line starts that was not read; how
            many were.
        """
        place = self._place_of
        place.at, place.stream, place.sequence = at, self._stream, self._last
        found = _native.lib.ss_lines_read(self._usual.pointer, text, len(text), enough, place)
        self._stream, self._last = place.stream, place.sequence
        run = bytes(_native.ffi.buffer(found, place.len)) if place.count else b""
        return run, place.at, place.count

    def frame(self, raw: bytes) -> bytes | None:
        """Return the frame of a line.

        Args:
            raw: The line, with or without its end.

        Returns:
            The frame, or None for a line that is no event: a blank one, or what only a host
            can tell, a gap or a mark.

        Raises:
            Unreadable: The line is not an event that can be understood.
        """
        try:
            line = self._decode(raw)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            if not raw.strip():
                return None
            raise _bad_json(raw, error) from None
        repeated = _native.repeated_key(raw)
        if repeated is not None:
            raise Unreadable(f"{repeated[:40].decode()!r} is in it twice", "remove one of them")
        if line.frame_hex is not None:
            return _whole_frame(line.frame_hex)
        kind = KINDS.get(line.kind)
        if kind is None:
            raise Unreadable(f"the kind {line.kind[:40]!r} is unknown", f"known: {KNOWN_KINDS}")
        if kind in HOST_ONLY:
            self._warn_once(f"a {line.kind} is left out: only the host that made it can tell it")
            return None
        shape = SHAPES[kind]
        try:
            spans = shape.quick(line)
        except (TypeError, ValueError):
            spans = self._spans(line, shape)
        numbers = shape.numbers(line)
        if None in numbers:
            raise Unreadable(f"{' or '.join(shape.layout.numbers)} is missing", _FORM)
        stream, sequence = self._place(line, raw)
        try:
            return _native.encode_frame(
                kind,
                line.flags,
                stream,
                sequence,
                line.time_ns,
                line.block_height,
                shape.word(line) or 0,
                spans,
                numbers,
            )
        except OverflowError:
            raise _too_large(line, shape, sequence) from None

    def _place(self, line: Line, raw: bytes) -> tuple[int, int]:
        """Return stream and sequence, both 0 where the line leaves them to the host."""
        number = line.sequence
        if number is None and line.seq is not None:
            number = line.seq + 1
        if line.stream is None:
            following = self._last + 1 if number is None else number
            if not self._stream or following <= self._last:
                self._stream = _name_of(raw)
                following = 1 if number is None else number
        else:
            stream = _stream(line.stream)
            same = stream == self._stream
            self._stream = stream
            following = number or 0
            if number is None and stream:
                following = self._last + 1 if same else 1
        self._last = following
        if (self._stream == 0) != (following == 0):
            raise Unreadable(
                f"the line has stream {self._stream:x} and sequence {following}",
                "leave both out, or give both; a sequence counts from 1",
            )
        return self._stream, following

    def _spans(self, line: Line, shape: Shape) -> tuple[bytes | None, ...]:
        """The bytes of all fields, the long way, which says what is wrong."""
        if shape is SHAPES[EventKind.BLOCK] and shape.hexes(line) == (None,):
            return (self._block(line.block_file),)
        return tuple(_bytes_of(line, span) for span in shape.layout.spans)

    def _block(self, name: str | None) -> bytes:
        if name is None:
            raise Unreadable("a Block needs block_hex or block_file", _FORM)
        path = PurePosixPath(name)
        if path.is_absolute() or ".." in path.parts or not path.parts:
            raise Unreadable(
                f"block_file {name[:200]!r} is not below the file's folder",
                "use a relative path without ..",
            )
        limit: int = _native.lib.SLIPSTREAM_FRAME_MAX
        problem = ""
        for folder in () if self._folder is None else (self._folder, self._folder.parent):
            try:
                return read_small(folder / path, limit)
            except FileProblem as found:
                problem = problem or f"{folder / path} {found.reason}"
        problem = problem or "standard input has no folder to look in"
        self._warn_once(f"a Block is sent without its bytes: {problem}")
        return b""

    def _warn_once(self, text: str) -> None:
        if text.partition(":")[0] not in self._warned:
            self._warned.add(text.partition(":")[0])
            self._warn(f"{text} (said once)")


def _too_large(line: Line, shape: Shape, sequence: int) -> Unreadable:
    if line.block_height == _HEIGHT_NONE:
        return Unreadable(
            f"block_height {_HEIGHT_NONE} is how a frame says that there is none",
            "leave block_height out, or give the block's",
        )
    numbers = dict(zip(shape.layout.numbers, shape.numbers(line), strict=True))
    numbers |= {"block_height": line.block_height, "sequence": sequence}
    large = [name for name, number in numbers.items() if (number or 0) >= 1 << 64]
    if not large and not -(1 << 63) <= line.time_ns < 1 << 63:
        large = ["time_ns"]
    what = " and ".join(large) or "a number"
    if large == ["sequence"] and line.sequence is None:
        what = "the sequence, which is seq + 1,"
    return Unreadable(f"{what} does not fit into 64 bits", "correct the line")


def _bad_json(raw: bytes, error: Exception) -> Unreadable:
    if b"\0" in raw[:4]:
        return Unreadable("the line is UTF-16 or UTF-32, not UTF-8", TO_UTF8)
    if isinstance(error, msgspec.ValidationError):
        return Unreadable(str(error)[:300], _FORM)
    if isinstance(error, RecursionError):
        return Unreadable("the line is nested too deeply", "remove that remark from it")
    if isinstance(error, UnicodeDecodeError):
        return Unreadable(f"the line is not UTF-8: {error.reason}", "convert the file to UTF-8")
    if (lone := _lone_surrogate(raw)) is not None:
        return Unreadable(
            f"{lone} is one half of a character", "write both halves, or the character itself"
        )
    if b"libpath" in raw:
        return Unreadable(
            "that is a plugin's config, not an event",
            "name a file of events; run, start and redeliver take a config by --slipstream-config",
        )
    if not raw.endswith(b"\n"):
        return Unreadable(
            "cut off inside of the line", "its writer was stopped in the middle; remove the line"
        )
    return Unreadable(f"not one JSON object: {str(error)[:300]}", "each line holds one object")


def _lone_surrogate(raw: bytes) -> str | None:
    """Return the escape that keeps a line from being text, if it is else good."""
    try:
        json.dumps(json.loads(raw), ensure_ascii=False).encode()  # json takes what msgspec does not
    except UnicodeEncodeError as error:
        return f"\\u{ord(error.object[error.start]):04x}"
    except (ValueError, RecursionError):
        return None
    return None


def _name_of(raw: bytes) -> int:
    """Name a stream by the line that it starts with: the same on each run, never 0."""
    return int.from_bytes(hashlib.sha256(raw.strip()).digest()[:8], "little") or 1


def _stream(name: str | int) -> int:
    try:
        number = read_hex(name) if isinstance(name, str) else name
    except ValueError:
        number = -1
    if not 0 <= number < 1 << 64:
        raise Unreadable("stream is not a number of 64 bits", "write 16 hexadecimal digits")
    return number


def _whole_frame(text: str) -> bytes:
    try:
        frame = bytes.fromhex(text)
        _, size = frames.decode(frame)
    except (ValueError, FrameError):
        size = -1
    if size != len(text) // 2:
        raise Unreadable("frame_hex is not one frame in hexadecimal", "remove the line")
    return frame


def _bytes_of(line: Line, span: Span) -> bytes | None:
    name, encode = span.name, FORMS[span.form].encode
    digits: str | None = getattr(line, f"{name}_hex")
    if digits is not None:
        try:
            return bytes.fromhex(digits)
        except ValueError:
            raise Unreadable(
                f"{name}_hex is not hexadecimal", "write two digits for each byte"
            ) from None
    text: str | None = None if encode is None else getattr(line, name)
    if encode is None or text is None:
        if span.optional:
            return None
        names = f"{name}_hex is" if encode is None else f"{name} and {name}_hex are"
        raise Unreadable(f"{names} missing", _FORM)
    try:
        return encode(text)
    except AleoFormatError as error:
        raise Unreadable(f"{name}: {error.message}", error.hint) from None
