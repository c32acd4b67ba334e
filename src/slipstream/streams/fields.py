"""The fields of a line, and which of them each kind of event has."""

from __future__ import annotations

import functools
from collections.abc import Callable
from operator import attrgetter
from typing import Annotated, NamedTuple

import msgspec

from slipstream import _native, aleo, frames
from slipstream.events import EventKind

_U64 = Annotated[int, msgspec.Meta(ge=0)]  # the upper end is checked by the core
_U16 = Annotated[int, msgspec.Meta(ge=0, le=0xFFFF)]


class Line(msgspec.Struct, gc=False):
    """All fields that any kind of event has in a line; others are skipped."""

    kind: str
    seq: _U64 | None = None
    stream: str | int | None = None
    sequence: _U64 | None = None
    time_ns: int = 0
    flags: _U16 = frames.RECORDED
    block_height: _U64 | None = None
    program_id: str | None = None
    program_id_hex: str | None = None
    mapping_name: str | None = None
    mapping_name_hex: str | None = None
    key: str | None = None
    key_hex: str | None = None
    value: str | None = None
    value_hex: str | None = None
    staker: str | None = None
    staker_hex: str | None = None
    validator: str | None = None
    validator_hex: str | None = None
    reward: _U64 | None = None
    new_stake: _U64 | None = None
    block_hex: str | None = None
    block_file: str | None = None
    source: str | None = None
    source_hex: str | None = None
    name: str | None = None
    name_hex: str | None = None
    body: str | None = None
    body_hex: str | None = None
    data_hex: str | None = None
    frame_hex: str | None = None


class Field(NamedTuple):
    """A span of bytes: its name in a line and in an event, and its text form if it has one."""

    name: str
    encode: Callable[[str], bytes] | None = None
    decode: Callable[[bytes], str] | None = None
    optional: bool = False


class Shape:
    """The fields of a kind, in the order of its frame."""

    def __init__(self, *fields: Field, numbers: tuple[str, ...] = ()) -> None:
        self.fields = fields
        self.numbers = numbers
        # Asked for one name more, as for a single one it would give a value and no tuple.
        self._hexes = attrgetter(*(f"{field.name}_hex" for field in fields), "kind")

    def quick(self, line: Line) -> tuple[bytes | None, ...]:
        """Return the bytes of all fields, where all are given in hexadecimal.

        Raises:
            TypeError, ValueError: One is not.
        """
        return tuple(map(bytes.fromhex, self._hexes(line)[:-1]))


# A stream holds few programs and mappings, and their texts are encoded for every line.
_program_id = functools.lru_cache(1024)(aleo.program_id_to_bytes)
_mapping_name = functools.lru_cache(1024)(aleo.identifier_to_bytes)

_MAPPING = (
    Field("program_id", _program_id, aleo.program_id_to_text),
    Field("mapping_name", _mapping_name, aleo.identifier_to_text),
)
SHAPES: dict[int, Shape] = {
    EventKind.MAPPING_UPDATE: Shape(
        *_MAPPING,
        Field("key", aleo.plaintext_to_bytes, aleo.plaintext_to_text),
        Field("value", aleo.value_to_bytes, aleo.value_to_text),
    ),
    EventKind.MAPPING_REMOVAL: Shape(
        *_MAPPING,
        Field("key", aleo.plaintext_to_bytes, aleo.plaintext_to_text, optional=True),
    ),
    EventKind.STAKING_REWARD: Shape(
        Field("staker", aleo.address_to_bytes, aleo.address_to_text),
        Field("validator", aleo.address_to_bytes, aleo.address_to_text),
        numbers=("reward", "new_stake"),
    ),
    EventKind.BLOCK: Shape(Field("block")),
    EventKind.PAYLOAD: Shape(
        Field("source", str.encode, bytes.decode, optional=True),
        Field("name", str.encode, bytes.decode),
        Field("body", str.encode, bytes.decode),
    ),
}
_APP_FIRST: int = _native.lib.SLIPSTREAM_KIND_APP_FIRST
_APP_LAST: int = _native.lib.SLIPSTREAM_KIND_APP_LAST
SHAPES |= dict.fromkeys(range(_APP_FIRST, _APP_LAST + 1), Shape(Field("data")))

KINDS: dict[str, int] = {frames.kind_name(kind): kind for kind in (*SHAPES, int(EventKind.GAP))}
"""The kinds of event by their names in a line."""

KNOWN_KINDS = (
    ", ".join(map(frames.kind_name, EventKind))
    + f", {frames.kind_name(_APP_FIRST)} to {frames.kind_name(_APP_LAST)}"
)
"""The same for people."""
