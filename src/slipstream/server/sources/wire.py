"""The bytes between a producer and the daemon; `docs/producers.md` is their contract."""

from __future__ import annotations

import json
import struct
from dataclasses import dataclass

from slipstream import frames
from slipstream.capture import HEADER
from slipstream.errors import FrameError
from slipstream.events import EventKind, Mark
from slipstream.text import read_hex

STREAM_MARK = b"slipstream.stream"
ANSWER_BYTES = 48
FRAME_BYTES = 48  # the least that a frame has: its header
FRAME_MAX = 64 << 20
STREAMS_MAX = 64  # on one connection
MARK_MAX = 64 << 10

_ANSWER = struct.Struct("<IIQQQQQ")
_HEAD = struct.Struct("<IHHIIQQ")  # size, header, kind, flags, payload, stream, sequence
_SEQUENCE_AT = 24
_TIME_AT = 32
_TIME = struct.Struct("<q")
_SEQUENCE = struct.Struct("<Q")

head_of = _HEAD.unpack_from


class BadProducer(Exception):
    """What a producer sent is against the contract; where, counted from its connection's start."""

    def __init__(self, what: str, at: int = 0) -> None:
        super().__init__(what)
        self.what = what
        self.at = at


@dataclass(frozen=True, slots=True)
class Answer:
    """What the daemon tells a producer of one stream."""

    stream: int
    accepted: int
    settled: int
    dead: int = 0
    told: int = 0

    def encode(self) -> bytes:
        """Return its bytes."""
        return _ANSWER.pack(
            ANSWER_BYTES, 0, self.stream, self.accepted, self.settled, self.dead, self.told
        )


def answer_size(start: bytes) -> int:
    """Return the length of an answer of which these are the first four bytes.

    Raises:
        BadProducer: No answer has such a length.
    """
    size = int.from_bytes(start[:4], "little")
    if not ANSWER_BYTES <= size <= 1 << 16 or size % 8:
        raise BadProducer(f"an answer claims a length of {size}")
    return size


def read_answer(data: bytes) -> Answer:
    """Return an answer; what a newer daemon has added at its end is passed over."""
    _, _, stream, accepted, settled, dead, told = _ANSWER.unpack_from(data)
    return Answer(stream, accepted, settled, dead, told)


def stream_mark(stream: int, producer: str = "") -> bytes:
    """Return the frame that names the stream of what follows it."""
    body: dict[str, str] = {"stream": f"{stream:016x}"}
    if producer:
        body["producer"] = producer
    return frames.encode(Mark(STREAM_MARK, json.dumps(body).encode()))


def read_mark(frame: bytes) -> tuple[int, str] | None:
    """Return the stream that a mark names and who names it; None for a mark of another name.

    Raises:
        BadProducer: It is malformed.
    """
    try:
        mark, _ = frames.decode(frame)
    except FrameError:
        raise BadProducer("a MARK that is malformed") from None
    if not isinstance(mark, Mark) or mark.name != STREAM_MARK:
        return None
    try:
        body = json.loads(mark.body)
        stream = read_hex(body["stream"])
        producer = body.get("producer", "")
        if not isinstance(producer, str):
            raise TypeError
    except (ValueError, TypeError, KeyError, RecursionError, AttributeError):
        raise BadProducer(
            "a MARK slipstream.stream whose body is not like"
            ' {"stream": "00000000000000a1", "producer": "node-3"}'
        ) from None
    return stream, producer[:200]


def frame_size(data: bytes | bytearray, at: int) -> int:
    """Return the length of the frame at `at`, of which at least four bytes are there.

    Raises:
        BadProducer: No frame has such a length.
    """
    size = int.from_bytes(data[at : at + 4], "little")
    if not FRAME_BYTES <= size <= FRAME_MAX or size % 8:
        raise BadProducer(f"a frame claims a length of {size}")
    return size


@dataclass(slots=True)
class Piece:
    """Neighbouring frames of one stream: where they start and end, how many, and the last."""

    start: int
    end: int
    count: int
    last: int


@dataclass(slots=True)
class Taken:
    """What was found among frames of one stream.

    Attributes:
        pieces: What is new.
        end: Where it stopped: at the end, at a frame that is cut off, at a mark or an event of
            another stream, or at the problem.
        repeated: How many frames were left out, since they are not new.
        problem: Why the frame there may not be there; "" if nothing is wrong.
    """

    pieces: list[Piece]
    end: int
    repeated: int = 0
    problem: str = ""


def take_stream(data: bytes | bytearray, at: int, stream: int, last: int) -> Taken:
    """Find the frames of one stream that are new.

    Args:
        data: Frames, the last of which may be cut off.
        at: Where the next one starts.
        stream: The stream; 0: its frames have no number, nor is any of them old.
        last: The last sequence that was accepted.
    """
    found = Taken([], at)
    start = at
    count = 0
    end = len(data)
    mark = int(EventKind.MARK)
    while end - at >= FRAME_BYTES:
        size, _, kind, _, _, of, sequence = head_of(data, at)
        if size < FRAME_BYTES or size > FRAME_MAX or size & 7:
            found.problem = f"a frame claims a length of {size}"
            break
        if kind == mark or of != stream or at + size > end:
            break
        if (sequence == 0) != (stream == 0):
            found.problem = f"an event of stream {stream:016x} with sequence {sequence}"
            break
        if sequence > last or stream == 0:
            last = sequence or last + 1
            count += 1
        else:
            if count:
                found.pieces.append(Piece(start, at, count, last))
            count = 0
            found.repeated += 1
            start = at + size
        at += size
    if count:
        found.pieces.append(Piece(start, at, count, last))
    found.end = at
    return found


def is_mark(data: bytes, at: int) -> bool:
    """Say whether the whole frame that starts there is a mark."""
    return bool(head_of(data, at)[2] == EventKind.MARK)


def move_sequences(run: bytes, by: int) -> bytearray:
    """Return frames with their sequences raised; those without stay without."""
    moved = bytearray(run)
    at = 0
    while at < len(moved):
        size, _, _, _, _, _, sequence = head_of(moved, at)
        if sequence:
            _SEQUENCE.pack_into(moved, at + _SEQUENCE_AT, sequence + by)
        at += size
    return moved


def with_times(run: memoryview, now: int) -> memoryview:
    """Return frames in which those without a time have this one."""
    at = 0
    times: list[int] = []
    while at < len(run):
        if not _TIME.unpack_from(run, at + _TIME_AT)[0]:
            times.append(at)
        at += int.from_bytes(run[at : at + 4], "little")
    if not times:
        return run
    stamped = bytearray(run)
    for at in times:
        _TIME.pack_into(stamped, at + _TIME_AT, now)
    return memoryview(stamped)


__all__ = [
    "ANSWER_BYTES",
    "FRAME_BYTES",
    "FRAME_MAX",
    "HEADER",
    "MARK_MAX",
    "STREAMS_MAX",
    "Answer",
    "BadProducer",
    "Piece",
    "Taken",
    "answer_size",
    "frame_size",
    "head_of",
    "is_mark",
    "move_sequences",
    "read_answer",
    "read_mark",
    "stream_mark",
    "take_stream",
    "with_times",
]
