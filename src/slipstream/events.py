"""Events as frozen dataclasses, each with the layout of its frame beside it.

These are for people and for tests; the hot path builds frames straight from bytes
(see `PluginManager.mapping_update`). A dataclass becomes a frame exactly once, in
`slipstream.frames`.

What Python knows of a kind stands here and nowhere else: its number in `EventKind`, its class
with the layout, and its place in `Event`. Frames, the fields of JSON lines and what
``slipstream show`` says follow from them.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum, IntFlag
from typing import ClassVar, NamedTuple

from slipstream._native import lib


class EventKind(IntEnum):
    """The kinds of this contract; 32 to 63 are free for an application's own."""

    MAPPING_UPDATE = lib.SLIPSTREAM_KIND_MAPPING_UPDATE
    MAPPING_REMOVAL = lib.SLIPSTREAM_KIND_MAPPING_REMOVAL
    STAKING_REWARD = lib.SLIPSTREAM_KIND_STAKING_REWARD
    BLOCK = lib.SLIPSTREAM_KIND_BLOCK
    PAYLOAD = lib.SLIPSTREAM_KIND_PAYLOAD
    GAP = lib.SLIPSTREAM_KIND_GAP
    PEER_SEEN = lib.SLIPSTREAM_KIND_PEER_SEEN
    PEER_FORGOTTEN = lib.SLIPSTREAM_KIND_PEER_FORGOTTEN
    MARK = lib.SLIPSTREAM_KIND_MARK


class Encoding(IntEnum):
    """How a source has written the opaque bytes of an event."""

    UNSAID = lib.SLIPSTREAM_ENCODING_UNSAID
    SNARKVM_4 = lib.SLIPSTREAM_ENCODING_SNARKVM_4
    """snarkVM's `to_bytes_le`, up to 4.x."""


class GapReason(IntFlag):
    """Why events were lost; several reasons may be set in one gap."""

    DROPPED_NEWEST = lib.SLIPSTREAM_GAP_DROPPED_NEWEST
    DROPPED_OLDEST = lib.SLIPSTREAM_GAP_DROPPED_OLDEST
    BLOCK_TIMEOUT = lib.SLIPSTREAM_GAP_BLOCK_TIMEOUT
    DEAD_LETTER = lib.SLIPSTREAM_GAP_DEAD_LETTER
    TOO_LARGE = lib.SLIPSTREAM_GAP_TOO_LARGE
    PAUSED = lib.SLIPSTREAM_GAP_PAUSED
    RELOAD = lib.SLIPSTREAM_GAP_RELOAD
    QUARANTINED = lib.SLIPSTREAM_GAP_QUARANTINED


@dataclass(frozen=True, slots=True, kw_only=True)
class Meta:
    """What a frame's header says beside kind and height.

    Attributes:
        stream: Names the sequence space; 0 is not yet given.
        sequence: Number within the stream, from 1; 0 is not yet given.
        time_ns: Nanoseconds since 1970 UTC; 0 is filled in by the host.
        flags: Frame flags (`SLIPSTREAM_FRAME_*`).
    """

    stream: int = 0
    sequence: int = 0
    time_ns: int = 0
    flags: int = 0


NO_META = Meta()


class Span(NamedTuple):
    """Bytes in a frame.

    Attributes:
        name: The event's attribute, and the field of a JSON line.
        form: How they are written as text: a name in `slipstream.streams.fields.FORMS`; "" for
            bytes that are shown in hexadecimal only.
        optional: They may be absent, which is None.
    """

    name: str
    form: str = ""
    optional: bool = False


class Layout(NamedTuple):
    """What a frame of a kind is made of; the core has the same in ``native/frame/frame.c``.

    Attributes:
        spans: In the order of the frame.
        said: The event in one line for people, with its attributes in braces.
        numbers: Attributes that are 64-bit numbers behind the spans, in the order of the frame.
        said_without: The same as `said` where the first optional span is absent.
        word: The attribute that stands in the word behind fixed_len; "" if that is 0.
    """

    spans: tuple[Span, ...]
    said: str
    numbers: tuple[str, ...] = ()
    said_without: str = ""
    word: str = ""


_PROGRAM = Span("program_id", "program_id")
_MAPPING = Span("mapping_name", "identifier")


@dataclass(frozen=True, slots=True)
class MappingUpdate:
    """A mapping's key got a value. All bytes little-endian as the node serialises them.

    Attributes:
        program_id: The program's bytes, e.g. ``07 "credits" 04 "aleo"``.
        mapping_name: The mapping's identifier bytes.
        key: Plaintext bytes.
        value: Value bytes.
        block_height: The height that is being finalized, or None.
        meta: Stream, sequence, time and flags.
        encoding: How the source has written the bytes; a number of `Encoding`, or from
            0x80000000 on one of the application's own.
    """

    kind: ClassVar[EventKind] = EventKind.MAPPING_UPDATE
    layout: ClassVar[Layout] = Layout(
        spans=(_PROGRAM, _MAPPING, Span("key", "plaintext"), Span("value", "value")),
        said="{program_id}/{mapping_name}[{key}] = {value}",
        word="encoding",
    )

    program_id: bytes
    mapping_name: bytes
    key: bytes
    value: bytes
    block_height: int | None = None
    meta: Meta = NO_META
    encoding: int = 0


@dataclass(frozen=True, slots=True)
class MappingRemoval:
    """A key left a mapping; `key` None means that the whole mapping was removed."""

    kind: ClassVar[EventKind] = EventKind.MAPPING_REMOVAL
    layout: ClassVar[Layout] = Layout(
        spans=(_PROGRAM, _MAPPING, Span("key", "plaintext", optional=True)),
        said="{program_id}/{mapping_name}[{key}]",
        said_without="{program_id}/{mapping_name}: the whole mapping",
        word="encoding",
    )

    program_id: bytes
    mapping_name: bytes
    key: bytes | None
    block_height: int | None = None
    meta: Meta = NO_META
    encoding: int = 0


@dataclass(frozen=True, slots=True)
class StakingReward:
    """A staker's reward in one block; addresses are 32 raw bytes, amounts microcredits."""

    kind: ClassVar[EventKind] = EventKind.STAKING_REWARD
    layout: ClassVar[Layout] = Layout(
        spans=(Span("staker", "address"), Span("validator", "address")),
        numbers=("reward", "new_stake"),
        said="{staker} got {reward:,}, has {new_stake:,}, validator {validator}",
        word="encoding",
    )

    staker: bytes
    validator: bytes
    reward: int
    new_stake: int
    block_height: int | None = None
    meta: Meta = NO_META
    encoding: int = 0


@dataclass(frozen=True, slots=True)
class Block:
    """A block was added; `block` holds its serialised bytes, or a prefix of them."""

    kind: ClassVar[EventKind] = EventKind.BLOCK
    layout: ClassVar[Layout] = Layout(spans=(Span("block"),), said="{block}", word="encoding")

    block: bytes
    block_height: int | None = None
    meta: Meta = NO_META
    encoding: int = 0


@dataclass(frozen=True, slots=True)
class Payload:
    """An application's own message, broadcast or routed to the plugin that claims `name`.

    Attributes:
        name: What kind of message it is; UTF-8 by convention.
        body: Its bytes.
        source: Who sent it; None if nobody says.
    """

    kind: ClassVar[EventKind] = EventKind.PAYLOAD
    layout: ClassVar[Layout] = Layout(
        spans=(Span("source", "utf8", optional=True), Span("name", "utf8"), Span("body", "utf8")),
        said="{name} from {source}: {body}",
        said_without="{name}: {body}",
        word="encoding",
    )

    name: bytes
    body: bytes
    source: bytes | None = None
    block_height: int | None = None
    meta: Meta = NO_META
    encoding: int = 0


@dataclass(frozen=True, slots=True)
class Gap:
    """Events that the plugin does not get. Made by the host only, never broadcast.

    Attributes:
        reason: Why, as a set.
        first: First lost ordinal.
        last: Last lost ordinal; the gap itself has this ordinal.
        count: How many were lost.
        kinds: Bit set of the kinds that were lost.
        first_height: Lowest-ordinal lost height, None where it had none.
        last_height: Highest-ordinal lost height, None where it had none.
        lost_stream: The stream of what was lost; 0 where it was not one stream.
        first_sequence: The first lost one's number within the stream, 0 where there are several.
        last_sequence: The last lost one's.
    """

    kind: ClassVar[EventKind] = EventKind.GAP
    layout: ClassVar[Layout] = Layout(
        spans=(),
        numbers=(
            *("first", "last", "count", "kinds", "first_height", "last_height"),
            *("lost_stream", "first_sequence", "last_sequence"),
        ),
        said="{count:,} lost, ordinals {first} to {last}: {reason}",
        word="reason",
    )

    reason: GapReason
    first: int
    last: int
    count: int
    kinds: int
    first_height: int | None = None
    last_height: int | None = None
    meta: Meta = NO_META
    lost_stream: int = 0
    first_sequence: int = 0
    last_sequence: int = 0

    @property
    def block_height(self) -> int | None:
        """The height of the frame, as other events have it: that of the last lost event."""
        return self.last_height


@dataclass(frozen=True, slots=True)
class PeerSeen:
    """A peer of the host was seen.

    Attributes:
        peer: The host's bytes for it.
        public_key: Its key, None where it is not known.
        name: What it calls itself, None where it is not known.
        via: `SLIPSTREAM_PEER_DIRECT` (1) or `SLIPSTREAM_PEER_ROUTED` (2).
    """

    kind: ClassVar[EventKind] = EventKind.PEER_SEEN
    layout: ClassVar[Layout] = Layout(
        spans=(
            Span("peer"),
            Span("public_key", optional=True),
            Span("name", "utf8", optional=True),
        ),
        said="{peer} was seen: key {public_key}, name {name}",
        said_without="{peer} was seen",
        word="via",
    )

    peer: bytes
    public_key: bytes | None = None
    name: bytes | None = None
    via: int = lib.SLIPSTREAM_PEER_DIRECT
    block_height: int | None = None
    meta: Meta = NO_META


@dataclass(frozen=True, slots=True)
class PeerForgotten:
    """The host has forgotten a peer, and a plugin must delete what it keeps of it."""

    kind: ClassVar[EventKind] = EventKind.PEER_FORGOTTEN
    layout: ClassVar[Layout] = Layout(spans=(Span("peer"),), said="{peer} is forgotten")

    peer: bytes
    block_height: int | None = None
    meta: Meta = NO_META


@dataclass(frozen=True, slots=True)
class Mark:
    """A note in a file of events; no plugin ever gets one.

    Attributes:
        name: What it notes; ``slipstream.*`` are this contract's.
        body: One JSON object in UTF-8.
    """

    kind: ClassVar[EventKind] = EventKind.MARK
    layout: ClassVar[Layout] = Layout(
        spans=(Span("name", "utf8"), Span("body", "utf8")), said="{name}: {body}"
    )

    name: bytes
    body: bytes
    block_height: int | None = None
    meta: Meta = NO_META


@dataclass(frozen=True, slots=True)
class AppEvent:
    """An event of an application's own kind (32 to 63).

    Attributes:
        kind: 32 to 63.
        data: Opaque bytes, after the payload's fixed part.
    """

    layout: ClassVar[Layout] = Layout(spans=(Span("data"),), said="{data}")

    kind: int
    data: bytes
    block_height: int | None = None
    meta: Meta = NO_META


Event = (
    MappingUpdate
    | MappingRemoval
    | StakingReward
    | Block
    | Payload
    | Gap
    | PeerSeen
    | PeerForgotten
    | Mark
    | AppEvent
)
