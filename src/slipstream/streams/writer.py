"""From frames to lines."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from typing import TypeAlias

from slipstream import frames
from slipstream.errors import AleoFormatError, FrameError
from slipstream.events import Event, Gap
from slipstream.streams.fields import SHAPES
from slipstream.streams.reader import LineReader, Unreadable

TEXT_MAX = 64 * 1024
"""Bytes; larger fields are written in hexadecimal only."""

JsonField: TypeAlias = str | int | list[str] | None


def text_of(event: Event, name: str) -> str | None:
    """Return a field's text form, None where it has none or the bytes are not valid.

    The text may hold control characters: an Aleo string is shown as it stands.
    """
    data: bytes | None = getattr(event, name)
    for field in SHAPES[frames.kind_of(event)].fields:
        if field.name == name and field.decode is not None and data is not None:
            return _text(field.decode, data)
    return None


def _text(decode: Callable[[bytes], str], data: bytes) -> str | None:
    if len(data) > TEXT_MAX:
        return None
    try:
        return decode(data)
    except (AleoFormatError, UnicodeDecodeError):
        return None


def line_of(frame: bytes) -> bytes:
    """Return the line of a frame, which `LineReader.frame` turns back into the same bytes.

    Args:
        frame: One whole frame.

    Returns:
        The line in ASCII, with its end.

    Raises:
        FrameError: The bytes are not one well-formed frame of a known kind.
    """
    event, size = frames.decode(frame)
    if size != len(frame):
        raise FrameError("more bytes than one frame", "pass one frame", size)
    head = _head(event)
    texts, hexes = _fields(event)
    line = _dump(head | texts | hexes)
    try:
        again = LineReader(None, lambda _: None).frame(line)
    except Unreadable:
        again = None
    if again != frame:
        line = _dump(head | texts | {"frame_hex": frame.hex()})
    return line


def _dump(record: dict[str, JsonField]) -> bytes:
    return json.dumps(record).encode() + b"\n"


def _head(event: Event) -> dict[str, JsonField]:
    meta = event.meta
    head: dict[str, JsonField] = {}
    if meta.sequence:
        head["seq"] = meta.sequence - 1
    head["stream"] = f"{meta.stream:016x}"
    if meta.time_ns:
        head["time_ns"] = meta.time_ns
    if meta.flags != frames.RECORDED:
        head["flags"] = meta.flags
    head["kind"] = frames.kind_name(frames.kind_of(event))
    head["block_height"] = event.last_height if isinstance(event, Gap) else event.block_height
    return head


def _fields(event: Event) -> tuple[dict[str, JsonField], dict[str, JsonField]]:
    """Texts and numbers, and the fields in hexadecimal."""
    texts: dict[str, JsonField] = {}
    hexes: dict[str, JsonField] = {}
    if isinstance(event, Gap):
        texts["reason"] = [str(reason.name).lower() for reason in event.reason]
        for name in ("first", "last", "count", "kinds", "first_height", "last_height"):
            texts[name] = getattr(event, name)
        return texts, hexes
    shape = SHAPES[frames.kind_of(event)]
    for field in shape.fields:
        data: bytes | None = getattr(event, field.name)
        if data is None:
            continue
        hexes[f"{field.name}_hex"] = data.hex()
        text = None if field.decode is None else _text(field.decode, data)
        if text is not None:
            texts[field.name] = text
    for name in shape.numbers:
        texts[name] = getattr(event, name)
    return texts, hexes


def write_jsonl(stream: Iterable[bytes]) -> Iterator[bytes]:
    """Yield the line of each frame; see `line_of`."""
    return map(line_of, stream)
