"""Frames seen from Python: events to bytes and back.

The layout stands in ``slipstream.h`` and is written and checked by the core; here events
of `slipstream.events` only get the order of their fields.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from slipstream import _native
from slipstream._native import lib
from slipstream.errors import BroadcastError, FrameError
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

NO_HEIGHT: int = lib.SLIPSTREAM_HEIGHT_NONE
RECORDED: int = lib.SLIPSTREAM_FRAME_RECORDED
ROUTED: int = lib.SLIPSTREAM_FRAME_ROUTED


# What the core's answers to events and frames mean, from where a frame starts and its number.
_MEANINGS: dict[int, _native.MakeError] = {
    lib.SLIPSTREAM_MALFORMED: lambda offset, index: FrameError(
        f"frame {index}, at byte {offset}: truncated, or a length in it contradicts another",
        "check the source of these bytes: slipstream show FILE names the first bad frame",
        offset,
        index,
    ),
    lib.SLIPSTREAM_UNSUPPORTED: lambda offset, index: FrameError(
        f"frame {index}, at byte {offset}: has a critical flag that this version does not know",
        "it was written by a newer slipstream; update this one",
        offset,
        index,
    ),
    lib.SLIPSTREAM_INVALID_ARGUMENT: lambda offset, index: FrameError(
        f"frame {index}, at byte {offset}: its kind may not be sent, or it has a stream without "
        "a sequence",
        "send kinds 0 to 4 or 32 to 63, with both stream and sequence or with neither",
        offset,
        index,
    ),
    lib.SLIPSTREAM_TOO_LARGE: lambda _offset, _index: BroadcastError(
        f"the event needs a frame of more than {lib.SLIPSTREAM_FRAME_MAX} bytes",
        "split it, or send a reference to it",
    ),
}
_NOT_ONE_FRAME: dict[int, _native.MakeError] = {
    lib.SLIPSTREAM_MALFORMED: lambda offset, index: FrameError(
        f"event {index} is bytes, but not exactly one frame",
        "pass the bytes of one frame, or use broadcast_frames for a run of them",
        offset,
        index,
    ),
}
_native.explain("frame", _MEANINGS)
_native.explain("event", _MEANINGS | _NOT_ONE_FRAME)

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
    if not lib.SLIPSTREAM_KIND_APP_FIRST <= event.kind <= lib.SLIPSTREAM_KIND_APP_LAST:
        raise _native.status_error(lib.SLIPSTREAM_INVALID_ARGUMENT, "frame")
    return _encode_if_wanted(event, kinds)


def _refuse_gap(_event: Gap, _kinds: int) -> bytes | None:
    raise _native.status_error(lib.SLIPSTREAM_INVALID_ARGUMENT, "frame")


_ENCODERS: dict[type, Callable[[Any, int], bytes | None]] = {
    **dict.fromkeys(_KINDS, _encode_if_wanted),
    AppEvent: _encode_app_if_wanted,
    Gap: _refuse_gap,
}


def _encode_for_door(event: object, kinds: int) -> bytes | None:
    """Make a frame of what was given to be sent, unless nobody wants its kind."""
    encoder = _ENCODERS.get(type(event))
    if encoder is not None:
        return encoder(event, kinds)
    if isinstance(event, bytes | bytearray | memoryview):
        return bytes(event)
    message = f"{type(event).__name__} is not an event"
    raise TypeError(f"{message}; use the dataclasses of slipstream.events or a frame's bytes")


_native.set_encoder(_encode_for_door)


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
        if size < lib.SLIPSTREAM_FRAME_HEADER_LEN or size > len(view) - offset:
            raise _native.status_error(lib.SLIPSTREAM_MALFORMED, "frame", offset, index)
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
