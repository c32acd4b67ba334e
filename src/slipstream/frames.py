"""Frames seen from Python: events to bytes and back.

The layout stands in ``slipstream.h`` and is written and checked by the core; here events
of `slipstream.events` only get the order of their fields.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from slipstream import _native
from slipstream.errors import FrameError
from slipstream.events import (
    NO_META,
    AppEvent,
    Block,
    Event,
    EventKind,
    Gap,
    GapReason,
    MappingRemoval,
    MappingUpdate,
    Meta,
    Payload,
    StakingReward,
)

Buffer = bytes | bytearray | memoryview
Spans = tuple[bytes | None, ...]
Numbers = tuple[int, ...]

NO_HEIGHT: int = _native.lib.SLIPSTREAM_HEIGHT_NONE
RECORDED: int = _native.lib.SLIPSTREAM_FRAME_RECORDED
ROUTED: int = _native.lib.SLIPSTREAM_FRAME_ROUTED

_KINDS: dict[type, EventKind] = {
    MappingUpdate: EventKind.MAPPING_UPDATE,
    MappingRemoval: EventKind.MAPPING_REMOVAL,
    StakingReward: EventKind.STAKING_REWARD,
    Block: EventKind.BLOCK,
    Payload: EventKind.PAYLOAD,
    Gap: EventKind.GAP,
}


def kind_of(event: Event) -> int:
    """Return the kind of an event, 0 to 63."""
    return event.kind if isinstance(event, AppEvent) else _KINDS[type(event)]


def kind_name(kind: int) -> str:
    """Return a kind's name as its event class is called, or ``App(n)``."""
    return next((c.__name__ for c, k in _KINDS.items() if k == kind), f"App({kind})")


def _fields(event: Event) -> tuple[Spans, Numbers]:
    match event:
        case MappingUpdate():
            return (event.program_id, event.mapping_name, event.key, event.value), ()
        case MappingRemoval():
            return (event.program_id, event.mapping_name, event.key), ()
        case StakingReward():
            return (event.staker, event.validator), (event.reward, event.new_stake)
        case Block():
            return (event.block,), ()
        case Payload():
            return (event.source, event.name, event.body), ()
        case AppEvent():
            return (event.data,), ()
        case Gap():
            first, last = (
                NO_HEIGHT if h is None else h for h in (event.first_height, event.last_height)
            )
            return (), (event.first, event.last, event.count, event.kinds, first, last)


def encode(event: Event) -> bytes:
    """Return the frame of an event.

    Args:
        event: Any event of `slipstream.events`.

    Returns:
        One whole frame: 48 bytes of header, the payload, zeros up to a multiple of 8.

    Raises:
        BroadcastError: It would be larger than 64 MiB.
        TypeError, OverflowError: A field has a wrong type, or a number does not fit.
    """
    spans, numbers = _fields(event)
    height = event.last_height if isinstance(event, Gap) else event.block_height
    meta = event.meta
    return _native.encode_frame(
        kind_of(event),
        meta.flags,
        meta.stream,
        meta.sequence,
        meta.time_ns,
        height,
        int(event.reason) if isinstance(event, Gap) else 0,
        spans,
        numbers,
    )


def _encode_if_wanted(event: Any, kinds: int) -> bytes | None:
    return encode(event) if kinds >> kind_of(event) & 1 else None


def _encode_app_if_wanted(event: AppEvent, kinds: int) -> bytes | None:
    first, last = _native.lib.SLIPSTREAM_KIND_APP_FIRST, _native.lib.SLIPSTREAM_KIND_APP_LAST
    if not first <= event.kind <= last:
        raise _native.status_error(_native.lib.SLIPSTREAM_INVALID_ARGUMENT, "frame")
    return _encode_if_wanted(event, kinds)


def _refuse_gap(_event: Gap, _kinds: int) -> bytes | None:
    raise _native.status_error(_native.lib.SLIPSTREAM_INVALID_ARGUMENT, "frame")


for _class in _KINDS:
    _native.encoders[_class] = _encode_if_wanted
_native.encoders[AppEvent] = _encode_app_if_wanted
_native.encoders[Gap] = _refuse_gap


def _height(number: int) -> int | None:
    return None if number == NO_HEIGHT else number


# From a frame's values to its event; spans are bytes where the core has checked that they
# are not absent.
_BUILDERS: dict[int, Callable[[Any, Any, int | None, int, Meta], Event]] = {
    EventKind.MAPPING_UPDATE: lambda s, _n, h, _r, m: MappingUpdate(s[0], s[1], s[2], s[3], h, m),
    EventKind.MAPPING_REMOVAL: lambda s, _n, h, _r, m: MappingRemoval(s[0], s[1], s[2], h, m),
    EventKind.STAKING_REWARD: lambda s, n, h, _r, m: StakingReward(s[0], s[1], n[0], n[1], h, m),
    EventKind.BLOCK: lambda s, _n, h, _r, m: Block(s[0], h, m),
    EventKind.PAYLOAD: lambda s, _n, h, _r, m: Payload(s[1], s[2], s[0], h, m),
    EventKind.GAP: lambda _s, n, _h, r, m: Gap(
        GapReason(r), n[0], n[1], n[2], n[3], _height(n[4]), _height(n[5]), m
    ),
}


def decode(buffer: Buffer, offset: int = 0) -> tuple[Event, int]:
    """Return the event of the frame at `offset`, and the offset behind it.

    Args:
        buffer: Bytes that hold a frame there.
        offset: Where it starts.

    Returns:
        The event, with stream, sequence, time and flags in `meta`, and the next offset.

    Raises:
        FrameError: The bytes there are not a well-formed frame of a known kind.
    """
    size, kind, flags, stream, sequence, time_ns, height, reasons, spans, numbers = (
        _native.decode_frame(buffer, offset)
    )
    meta = Meta(stream=stream, sequence=sequence, time_ns=time_ns, flags=flags)
    if meta == NO_META:
        meta = NO_META
    builder = _BUILDERS.get(kind)
    event = (
        AppEvent(kind, spans[0] or b"", height, meta)
        if builder is None
        else builder(spans, numbers, height, reasons, meta)
    )
    return event, offset + size


def split(buffer: Buffer) -> Iterator[bytes]:
    """Yield the frames of a run one by one, each as bytes of its own.

    Args:
        buffer: Whole frames, one behind the other.

    Raises:
        FrameError: At the first frame that is cut off or claims an impossible length.
    """
    view = memoryview(buffer)
    offset = index = 0
    while offset < len(view):
        size = int.from_bytes(view[offset : offset + 4], "little")
        if size < _native.lib.SLIPSTREAM_FRAME_HEADER_LEN or size > len(view) - offset:
            raise _native.status_error(_native.lib.SLIPSTREAM_MALFORMED, "frame", offset, index)
        yield bytes(view[offset : offset + size])
        offset += size
        index += 1


def decode_many(buffer: Buffer) -> Iterator[Event]:
    """Yield the events of a run of frames; raises `FrameError` at the first bad one."""
    offset = index = 0
    while offset < len(buffer):
        try:
            event, offset = decode(buffer, offset)
        except FrameError as error:
            raise FrameError(error.message, error.hint, offset, index) from None
        yield event
        index += 1
