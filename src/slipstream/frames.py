"""Frames seen from Python: events to bytes and back.

The layout stands in ``slipstream.h`` and is written and checked by the core; here events
of `slipstream.events` only get the order of their fields. What can be known of a class before
an event comes is looked up once, in the functions that `_encoder` and `_builder` make.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from operator import attrgetter, itemgetter
from typing import Any, get_args

from slipstream import _native
from slipstream._native import lib
from slipstream.errors import BroadcastError, FrameError
from slipstream.events import NO_META, AppEvent, Event, Gap, GapReason, Mark, Meta

Buffer = bytes | bytearray | memoryview

NO_HEIGHT: int = lib.SLIPSTREAM_HEIGHT_NONE
RECORDED: int = lib.SLIPSTREAM_FRAME_RECORDED
ROUTED: int = lib.SLIPSTREAM_FRAME_ROUTED
APP_KINDS = range(lib.SLIPSTREAM_KIND_APP_FIRST, lib.SLIPSTREAM_KIND_APP_LAST + 1)

CLASSES: dict[int, type[Event]] = {c.kind: c for c in get_args(Event) if c is not AppEvent}
"""The class of each kind of this contract."""

HOST_ONLY = frozenset(kind for kind in CLASSES if not lib.ss_frame_shape(kind).sent)
"""The kinds that are never sent: a host makes them, of its own losses and for its files."""

_ALL_KINDS = -1

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
        "send a kind of this contract but GAP and MARK, or 32 to 63; stream and sequence both, "
        "or neither",
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
_native.explain(
    _native.ANY,
    {
        lib.SLIPSTREAM_NO_MEMORY: lambda _offset, _index: BroadcastError(
            "out of memory",
            "raise the limit on memory (ulimit -v), or send smaller pieces",
        )
    },
)
_native.explain("frame", _MEANINGS)
_native.explain("event", _MEANINGS | _NOT_ONE_FRAME)


def kind_name(kind: int) -> str:
    """Return a kind's name as its event class is called, or ``App(n)``."""
    known = CLASSES.get(kind)
    return f"App({kind})" if known is None else known.__name__


def getter(names: Sequence[str]) -> Callable[[Any], tuple[Any, ...]]:
    """Return a function that gives these attributes of an object as a tuple."""
    if len(names) > 1:
        return attrgetter(*names)
    if not names:
        return lambda _: ()
    one = attrgetter(names[0])
    return lambda value: (one(value),)


# ---- From events to frames -------------------------------------------------------------------


def _encoder(of: type[Event]) -> Callable[[Any, int], bytes | None]:
    """Return what makes the frame of an event of this class, if its kind is in a set of kinds."""
    spans = getter([span.name for span in of.layout.spans])
    numbers = getter(of.layout.numbers)
    word = attrgetter(of.layout.word) if of.layout.word else lambda _: 0
    encode_frame = _native.encode_frame

    def encoded(event: Any, kinds: int) -> bytes | None:
        kind = event.kind
        if not kinds >> kind & 1:
            return None
        meta = event.meta
        try:
            return encode_frame(
                kind,
                meta.flags,
                meta.stream,
                meta.sequence,
                meta.time_ns,
                event.block_height,
                word(event),
                spans(event),
                numbers(event),
            )
        except (TypeError, OverflowError) as error:
            raise _named(event, error) from None

    return encoded


def _named(event: Any, error: Exception) -> Exception:
    """Return the error with the name of the attribute that cannot be written."""
    spans = {span.name for span in event.layout.spans}
    for owner in (event, event.meta):
        for name in (field.name for field in dataclasses.fields(owner) if field.name != "meta"):
            value = getattr(owner, name)
            if name in spans:
                is_good = isinstance(value, Buffer | None)
            else:
                below = 1 << 63 if name == "time_ns" else 0
                is_good = value is None or (
                    isinstance(value, int) and -below <= value < (1 << 64) - below
                )
            if not is_good:
                return type(error)(f"{type(owner).__name__}.{name}: {error}")
    return error


def _encode_app(event: AppEvent, kinds: int) -> bytes | None:
    if event.kind not in APP_KINDS:
        raise _native.status_error(lib.SLIPSTREAM_INVALID_ARGUMENT, "frame")
    # What is wrong with an event is also told while nobody wants it, as the core does for others.
    return _encode_any_app(event, kinds if type(event.data) is bytes else _ALL_KINDS)


def _encode_gap(event: Gap, _kinds: int) -> bytes:
    """The frame of a gap, which has heights among its numbers."""
    meta = event.meta
    numbers = [NO_HEIGHT if number is None else number for number in _gap_numbers(event)]
    return _native.encode_frame(
        event.kind,
        meta.flags,
        meta.stream,
        meta.sequence,
        meta.time_ns,
        event.block_height,
        int(event.reason),
        (),
        tuple(numbers),
    )


def _refuse(_event: Gap | Mark, _kinds: int) -> bytes | None:
    raise _native.status_error(lib.SLIPSTREAM_INVALID_ARGUMENT, "frame")


_encode_any_app = _encoder(AppEvent)
_gap_numbers = getter(Gap.layout.numbers)
_ENCODERS: dict[type, Callable[[Any, int], Any]] = {of: _encoder(of) for of in get_args(Event)}
_ENCODERS |= {AppEvent: _encode_app, Gap: _encode_gap}
_DOOR_ENCODERS = _ENCODERS | {CLASSES[kind]: _refuse for kind in HOST_ONLY}


def _encode_for_door(event: object, kinds: int) -> bytes | None:
    """Make a frame of what was given to be sent, unless nobody wants its kind."""
    encoder = _DOOR_ENCODERS.get(type(event))
    if encoder is not None:
        frame: bytes | None = encoder(event, kinds)
        return frame
    if isinstance(event, bytes | bytearray | memoryview):
        return bytes(event)
    message = f"{type(event).__name__} is not an event"
    raise TypeError(f"{message}; use the dataclasses of slipstream.events or a frame's bytes")


_native.set_encoder(
    _encode_for_door,
    {
        of: (int(kind), *(span.name for span in of.layout.spans))
        for kind, of in CLASSES.items()
        if kind not in HOST_ONLY
    },
)


def encode(event: Event) -> bytes:
    """Return the frame of an event.

    Args:
        event: Any event of `slipstream.events`.

    Returns:
        One whole frame: 48 bytes of header, the payload, zeros up to a multiple of 8.

    Raises:
        BroadcastError: It would be larger than 64 MiB.
        FrameError: The kind of an `AppEvent` is not 32 to 63.
        TypeError, OverflowError: A field has a wrong type, or a number does not fit.
    """
    frame: bytes = _ENCODERS[type(event)](event, _ALL_KINDS)
    return frame


# ---- From frames to events -------------------------------------------------------------------


def _builder(of: type[Event]) -> Callable[..., Event]:
    """Return what makes an event of this class from what `decode` finds in a frame."""
    names = (*(span.name for span in of.layout.spans), *of.layout.numbers)
    values = [*names, "block_height", "meta", of.layout.word]
    order = [values.index(field.name) for field in dataclasses.fields(of)]
    if order == list(range(len(values))):
        return of
    pick = itemgetter(*order)
    return lambda *values: of(*pick(values))


def _height(number: int) -> int | None:
    return None if number == NO_HEIGHT else number


_BUILDERS = {kind: _builder(of) for kind, of in CLASSES.items() if of is not Gap}


def decode(buffer: Buffer, offset: int = 0) -> tuple[Event, int]:
    """Return the event of the frame at `offset`, and the offset after it.

    Args:
        buffer: Bytes that hold a frame there.
        offset: Where it starts.

    Returns:
        The event, with stream, sequence, time and flags in `meta`, and the next offset.

    Raises:
        FrameError: The bytes there are not a well-formed frame of a known kind.
    """
    size, kind, flags, stream, sequence, time_ns, height, word, spans, numbers = (
        _native.decode_frame(buffer, offset)
    )
    meta = NO_META
    if stream or sequence or time_ns or flags:
        meta = Meta(stream=stream, sequence=sequence, time_ns=time_ns, flags=flags)
    event: Event
    if build := _BUILDERS.get(kind):
        event = build(*spans, *numbers, height, meta, word)
    elif kind == Gap.kind:
        first, last, count, kinds, start, end, *where = numbers
        heights = _height(start), _height(end)
        event = Gap(GapReason(word), first, last, count, kinds, *heights, meta, *where)
    else:
        event = AppEvent(kind, spans[0] or b"", height, meta)
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
