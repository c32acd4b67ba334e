"""Events to try a plugin with: one of each kind, and what frames may look like beside that."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from slipstream import frames
from slipstream._native import lib
from slipstream.events import (
    AppEvent,
    Block,
    Encoding,
    Event,
    Gap,
    GapReason,
    MappingRemoval,
    MappingUpdate,
    Meta,
    Payload,
    PeerForgotten,
    PeerSeen,
    StakingReward,
)
from slipstream.library import kind_name

if TYPE_CHECKING:
    from collections.abc import Mapping

HEADER = lib.SLIPSTREAM_FRAME_HEADER_LEN
GAP = lib.SLIPSTREAM_KIND_GAP

_STREAM = 7
_TIME = 1_700_000_000_000_000_000
_ADDRESS = bytes.fromhex("012a0e240f8bb01bbe896a69d93cb916bccc6f7f188097885d8d140774158a08")
_PROGRAM = b"\x07credits\x04aleo"
_MAPPING = b"\x07account"
_KEY = bytes.fromhex("000000") + _ADDRESS
_VALUE = bytes.fromhex("00000c00") + (140_625_003_101).to_bytes(8, "little")
_SNARKVM = Encoding.SNARKVM_4


@dataclass(frozen=True, slots=True)
class Field:
    """Bytes in a frame.

    Attributes:
        name: As the header names it.
        start: Where they start in the frame.
        length: How many they are.
    """

    name: str
    start: int
    length: int


@dataclass(frozen=True, slots=True)
class Frame:
    """A frame, or a run of them, and what it is called.

    Attributes:
        data: Its bytes.
        kind: The first one's kind.
        label: For people.
        fields: The bytes that a plugin may read in it.
    """

    data: bytes
    kind: int
    label: str
    fields: tuple[Field, ...] = ()


def _spans(kind: int) -> tuple[str, ...]:
    of = frames.CLASSES.get(kind)
    return () if of is None else tuple(span.name for span in of.layout.spans)


def frame_of(event: Event, sequence: int = 1, label: str = "") -> Frame:
    """Return an event's frame, as a host would hand it over.

    Args:
        event: The event.
        sequence: Its number in its stream; not for a GAP, which has none.
        label: Behind its kind's name.
    """
    kind = event.kind
    if kind != GAP:
        meta = event.meta
        event = replace(
            event,
            meta=Meta(
                stream=meta.stream or _STREAM,
                sequence=meta.sequence or sequence,
                time_ns=meta.time_ns or _TIME,
                flags=meta.flags,
            ),
        )
    return _named(frames.encode(event), int(kind), label)


def _named(data: bytes, kind: int, label: str = "") -> Frame:
    words = f"{kind_name(kind)}{', ' if label else ''}{label}"
    return Frame(data, kind, words, tuple(_fields(data, kind)))


def as_it_is(data: bytes, label: str) -> Frame:
    """Return bytes of which nothing is known as a frame; its fields as far as they can be seen."""
    kind = int.from_bytes(data[6:8], "little")
    try:
        return _named(data, kind, label)
    except struct.error:
        return Frame(data, kind, f"{kind_name(kind)}, {label}")


def _fields(data: bytes, kind: int) -> Iterator[Field]:
    head, length = struct.unpack_from("<H", data, 4)[0], struct.unpack_from("<I", data, 12)[0]
    yield Field("header", 0, head)
    for at, name in enumerate(_spans(kind)):
        offset, size = struct.unpack_from("<II", data, head + 8 + 8 * at)
        if offset or size:
            yield Field(name, head + offset, size)
    yield Field("payload", head, length)


_GAP = Gap(
    reason=GapReason.DROPPED_NEWEST, first=3, last=5, count=3, kinds=1 << lib.SLIPSTREAM_KIND_BLOCK,
    first_height=10, last_height=12, lost_stream=_STREAM, first_sequence=3, last_sequence=5,
)  # fmt: skip


def usual(kind: int) -> Event | None:
    """Return a usual event of a kind; None for one of which nothing is known."""
    if lib.SLIPSTREAM_KIND_APP_FIRST <= kind <= lib.SLIPSTREAM_KIND_APP_LAST:
        return AppEvent(kind, b"{}", 1)
    return _USUAL.get(kind)


NOTE = Payload(b"org.example.note", b'{"text": "hello"}', source=b"peer-1")
"""A usual payload."""

_USUAL: Mapping[int, Event] = {
    event.kind: event
    for event in (
        MappingUpdate(_PROGRAM, _MAPPING, _KEY, _VALUE, 1, encoding=_SNARKVM),
        MappingRemoval(_PROGRAM, _MAPPING, _KEY, 1, encoding=_SNARKVM),
        StakingReward(_ADDRESS, _ADDRESS, 3101, 140_625_003_101, 1, encoding=_SNARKVM),
        Block(b"a block, of a few bytes", 1),
        NOTE,
        PeerSeen(b"peer-1", public_key=b"k" * 32, name=b"one", via=lib.SLIPSTREAM_PEER_DIRECT),
        PeerForgotten(b"peer-1"),
        _GAP,
    )
}


def routed(payload: Payload) -> Payload:
    """Return a payload as one that is routed by its name."""
    flags = payload.meta.flags | lib.SLIPSTREAM_FRAME_ROUTED
    return replace(payload, meta=replace(payload.meta, flags=flags))


# ---- What they may look like beside that -------------------------------------------------------


def with_field(event: Event, name: str, value: bytes) -> Event:
    """Return an event with other bytes in one of its fields, and none behind it.

    The fields behind are empty, so that this one is the last in the frame: where it ends, the
    frame does, if its length is a multiple of 8.
    """
    names = _spans(event.kind)
    behind = dict.fromkeys(names[names.index(name) + 1 :], b"")
    return replace(event, **{**behind, name: value})  # type: ignore[arg-type]


def span_names(kind: int) -> tuple[str, ...]:
    """Return the names of a kind's fields that are bytes."""
    return _spans(kind)


def grown(frame: Frame, by: int) -> Frame:
    """Return the frame as a later minor writes it: its fixed part has `by` more bytes."""
    data = bytearray(frame.data)
    head = struct.unpack_from("<H", data, 4)[0]
    fixed = struct.unpack_from("<I", data, head)[0]
    for at in range(len(_spans(frame.kind))):
        offset, size = struct.unpack_from("<II", data, head + 8 + 8 * at)
        if offset or size:
            struct.pack_into("<I", data, head + 8 + 8 * at, offset + by)
    struct.pack_into("<I", data, head, fixed + by)
    struct.pack_into("<I", data, 12, struct.unpack_from("<I", data, 12)[0] + by)
    data[head + fixed : head + fixed] = b"\xee" * by
    struct.pack_into("<I", data, 0, len(data))
    return _named(bytes(data), frame.kind, f"a fixed part {by} bytes larger")


def with_header(frame: Frame, by: int) -> Frame:
    """Return the frame with a header that is `by` bytes longer."""
    data = bytearray(frame.data)
    head = struct.unpack_from("<H", data, 4)[0]
    data[head:head] = b"\xee" * by
    struct.pack_into("<H", data, 4, head + by)
    struct.pack_into("<I", data, 0, len(data))
    return _named(bytes(data), frame.kind, f"a header {by} bytes longer")


def with_flags(frame: Frame, flags: int, label: str) -> Frame:
    """Return the frame with further flags."""
    data = bytearray(frame.data)
    struct.pack_into("<I", data, 8, struct.unpack_from("<I", data, 8)[0] | flags)
    return _named(bytes(data), frame.kind, label)


def of_kind(frame: Frame, kind: int) -> Frame:
    """Return the frame's bytes as those of another kind."""
    data = bytearray(frame.data)
    struct.pack_into("<H", data, 6, kind)
    return Frame(bytes(data), kind, f"kind {kind}")


def truncated(frame: Frame) -> Iterator[Frame]:
    """Yield the frame with every shorter payload, and cut off at every 8 bytes."""
    data = frame.data
    length = struct.unpack_from("<I", data, 12)[0]
    for size in range(length):
        cut = bytearray(data)
        struct.pack_into("<I", cut, 12, size)
        yield Frame(bytes(cut), frame.kind, f"{frame.label}, payload_len {size} of {length}")
    for size in range(0, length, 8):
        cut = bytearray(data[: HEADER + size])
        struct.pack_into("<I", cut, 0, len(cut))
        struct.pack_into("<I", cut, 12, size)
        yield Frame(bytes(cut), frame.kind, f"{frame.label}, a payload of {size} bytes")
    for size in range(8, len(data), 8):
        yield Frame(data[:size], frame.kind, f"{frame.label}, {size} of {len(data)} bytes")
    for lie in (0, 8, 47, len(data) + 8, 0xFFFF_FFF8):
        cut = bytearray(data)
        struct.pack_into("<I", cut, 0, lie)
        yield Frame(bytes(cut), frame.kind, f"{frame.label}, frame_len says {lie}")


def numbered(frame: Frame, sequence: int) -> Frame:
    """Return the frame with another sequence."""
    data = bytearray(frame.data)
    struct.pack_into("<Q", data, 24, sequence)
    return replace(frame, data=bytes(data))


def at_height(frame: Frame, height: int) -> Frame:
    """Return the frame with another height."""
    data = bytearray(frame.data)
    struct.pack_into("<Q", data, 40, height)
    return replace(frame, data=bytes(data), label=f"{frame.label}, height {height}")


def run_of(given: Iterable[Frame]) -> tuple[Frame, int]:
    """Return frames as one run, and how many they are."""
    parts = list(given)
    return Frame(b"".join(p.data for p in parts), parts[0].kind, f"a run of {len(parts)}"), len(
        parts
    )


GAP_LAST = _GAP.last
"""The ordinal of the first of `gaps`."""


def gaps() -> Iterator[Frame]:
    """Yield GAPs of every reason, of one stream, and of several.

    Each begins where the one before ends: they have the ordinals `GAP_LAST`, and so many further
    as each has lost.
    """
    one = _GAP
    for reason in GapReason:
        yield frame_of(replace(one, reason=reason), label=str(reason.name))
        one = replace(one, first=one.last + 1, last=one.last + one.count)
    several = replace(one, lost_stream=0, first_sequence=0, last_sequence=0)
    yield frame_of(several, label="of several streams")


GAP_STEP = _GAP.count
"""By so much the ordinals of `gaps` differ."""


def optional_names(kind: int) -> tuple[str, ...]:
    """Return the names of a kind's fields that may be absent."""
    of = frames.CLASSES.get(kind)
    return () if of is None else tuple(span.name for span in of.layout.spans if span.optional)
