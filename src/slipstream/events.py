"""Events as frozen dataclasses.

These are for people and for tests; the hot path builds frames straight from bytes
(see `PluginManager.mapping_update`). A dataclass becomes a frame exactly once, in
`slipstream.frames`.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum, IntFlag

from slipstream._native import lib


class EventKind(IntEnum):
    """The kinds of this contract; 32 to 63 are free for an application's own."""

    MAPPING_UPDATE = lib.SLIPSTREAM_KIND_MAPPING_UPDATE
    MAPPING_REMOVAL = lib.SLIPSTREAM_KIND_MAPPING_REMOVAL
    STAKING_REWARD = lib.SLIPSTREAM_KIND_STAKING_REWARD
    BLOCK = lib.SLIPSTREAM_KIND_BLOCK
    PAYLOAD = lib.SLIPSTREAM_KIND_PAYLOAD
    GAP = lib.SLIPSTREAM_KIND_GAP


class GapReason(IntFlag):
    """Why events were lost; several reasons may be set in one gap."""

    DROPPED_NEWEST = lib.SLIPSTREAM_GAP_DROPPED_NEWEST
    DROPPED_OLDEST = lib.SLIPSTREAM_GAP_DROPPED_OLDEST
    BLOCK_TIMEOUT = lib.SLIPSTREAM_GAP_BLOCK_TIMEOUT
    DEAD_LETTER = lib.SLIPSTREAM_GAP_DEAD_LETTER
    TOO_LARGE = lib.SLIPSTREAM_GAP_TOO_LARGE
    PAUSED = lib.SLIPSTREAM_GAP_PAUSED
    RELOAD = lib.SLIPSTREAM_GAP_RELOAD


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
    """

    program_id: bytes
    mapping_name: bytes
    key: bytes
    value: bytes
    block_height: int | None = None
    meta: Meta = NO_META


@dataclass(frozen=True, slots=True)
class MappingRemoval:
    """A key left a mapping; `key` None means that the whole mapping was removed."""

    program_id: bytes
    mapping_name: bytes
    key: bytes | None
    block_height: int | None = None
    meta: Meta = NO_META


@dataclass(frozen=True, slots=True)
class StakingReward:
    """A staker's reward in one block; addresses are 32 raw bytes, amounts microcredits."""

    staker: bytes
    validator: bytes
    reward: int
    new_stake: int
    block_height: int | None = None
    meta: Meta = NO_META


@dataclass(frozen=True, slots=True)
class Block:
    """A block was added; `block` holds its serialised bytes, or a prefix of them."""

    block: bytes
    block_height: int | None = None
    meta: Meta = NO_META


@dataclass(frozen=True, slots=True)
class Payload:
    """An application's own message, broadcast or routed to the plugin that claims `name`.

    Attributes:
        name: What kind of message it is; UTF-8 by convention.
        body: Its bytes.
        source: Who sent it; None if nobody says.
    """

    name: bytes
    body: bytes
    source: bytes | None = None
    block_height: int | None = None
    meta: Meta = NO_META


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
    """

    reason: GapReason
    first: int
    last: int
    count: int
    kinds: int
    first_height: int | None = None
    last_height: int | None = None
    meta: Meta = NO_META


@dataclass(frozen=True, slots=True)
class AppEvent:
    """An event of an application's own kind (32 to 63).

    Attributes:
        kind: 32 to 63.
        data: Opaque bytes, after the payload's fixed part.
    """

    kind: int
    data: bytes
    block_height: int | None = None
    meta: Meta = NO_META


Event = MappingUpdate | MappingRemoval | StakingReward | Block | Payload | Gap | AppEvent
