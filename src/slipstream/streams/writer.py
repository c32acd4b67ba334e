"""From frames to lines."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import TypeAlias

from slipstream import frames
from slipstream.errors import AleoFormatError, FrameError
from slipstream.events import Event, Gap, Span
from slipstream.streams.fields import FORMS
from slipstream.streams.reader import LineReader, Unreadable

TEXT_MAX = 64 * 1024
"""Bytes; larger fields are written in hexadecimal only."""

JsonField: TypeAlias = str | int | list[str] | None


def text_of(event: Event, name: str) -> str | None:
    """Return the text form of a span, None where it has none or the bytes are not valid.

    The text may hold control characters: an Aleo string is shown as it stands.
    """
    data: bytes | None = getattr(event, name)
    (span,) = (span for span in event.layout.spans if span.name == name)
    return None if data is None else _text(span, data)


def _text(span: Span, data: bytes) -> str | None:
    decode = FORMS[span.form].decode
    if decode is None or len(data) > TEXT_MAX:
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
    head["kind"] = frames.kind_name(event.kind)
    head["block_height"] = event.block_height
    return head


def _fields(event: Event) -> tuple[dict[str, JsonField], dict[str, JsonField]]:
    """Texts and numbers, and the fields in hexadecimal."""
    texts: dict[str, JsonField] = {}
    hexes: dict[str, JsonField] = {}
    if isinstance(event, Gap):
        texts["reason"] = [str(reason.name).lower() for reason in event.reason]
    for span in event.layout.spans:
        data: bytes | None = getattr(event, span.name)
        if data is None:
            continue
        hexes[f"{span.name}_hex"] = data.hex()
        text = _text(span, data)
        if text is not None:
            texts[span.name] = text
    word = event.layout.word
    if word and not isinstance(event, Gap) and getattr(event, word):
        texts[word] = getattr(event, word)
    for name in event.layout.numbers:
        texts[name] = getattr(event, name)
    return texts, hexes


def write_jsonl(stream: Iterable[bytes]) -> Iterator[bytes]:
    """Yield the line of each frame; see `line_of`."""
    return map(line_of, stream)
