"""The head of a serialised block, and the number of its transactions.

Source: snarkVM ledger/block/src/{bytes,header,transactions}.rs and ledger/narwhal/.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, NamedTuple

from slipstream.aleo.bech32m import decode_id, encode_id
from slipstream.aleo.literals import Literal, LiteralType, coordinate, scan_literal
from slipstream.aleo.reader import Reader
from slipstream.aleo.scanner import Scanner
from slipstream.errors import AleoFormatError

if TYPE_CHECKING:
    from collections.abc import Mapping

PREFIX_SIZE = 345
"""Bytes of the part that all blocks have in the same place."""

_VERSION = b"\x01"
_DECIMAL = re.compile(r"-?[0-9]{1,39}")


class _Field(NamedTuple):
    size: int
    text: str
    """How JSON shows it: an id's prefix, ``field``, ``string`` or ``number``."""
    signed: bool = False
    versioned: bool = False
    """Whether a version byte, which is 1, stands before it."""


_LAYOUT = {
    "block_hash": _Field(32, "ab", versioned=True),
    "previous_hash": _Field(32, "ab"),
    "previous_state_root": _Field(32, "sr", versioned=True),
    "transactions_root": _Field(32, "field"),
    "finalize_root": _Field(32, "field"),
    "ratifications_root": _Field(32, "field"),
    "solutions_root": _Field(32, "field"),
    "subdag_root": _Field(32, "field"),
    "network": _Field(2, "number", versioned=True),
    "round": _Field(8, "number"),
    "height": _Field(4, "number"),
    "cumulative_weight": _Field(16, "string"),
    "cumulative_proof_target": _Field(16, "string"),
    "coinbase_target": _Field(8, "number"),
    "proof_target": _Field(8, "number"),
    "last_coinbase_target": _Field(8, "number"),
    "last_coinbase_timestamp": _Field(8, "number", signed=True),
    "timestamp": _Field(8, "number", signed=True),
}


@dataclass(frozen=True, slots=True)
class BlockPrefix:
    """The first 345 bytes of a block: its hash and its header.

    Bytes, in this order: u8 1, block hash, previous hash (32 each), u8 1, previous state
    root, five roots (32 each), u8 1, then the numbers, little-endian, at offset 259.

    Attributes:
        block_hash: 32 bytes, shown as ``ab1...``.
        previous_hash: 32 bytes, shown as ``ab1...``.
        previous_state_root: 32 bytes, shown as ``sr1...``.
        transactions_root: A field, as are the four after it.
        finalize_root: A field.
        ratifications_root: A field.
        solutions_root: A field.
        subdag_root: A field.
        network: u16; 0 mainnet, 1 testnet, 2 canary.
        round: u64.
        height: u32.
        cumulative_weight: u128.
        cumulative_proof_target: u128.
        coinbase_target: u64.
        proof_target: u64.
        last_coinbase_target: u64.
        last_coinbase_timestamp: i64, seconds since 1970 UTC.
        timestamp: i64, seconds since 1970 UTC.

    Raises:
        AleoFormatError: A value is out of the range of its place.
    """

    block_hash: bytes
    previous_hash: bytes
    previous_state_root: bytes
    transactions_root: int
    finalize_root: int
    ratifications_root: int
    solutions_root: int
    subdag_root: int
    network: int
    round: int
    height: int
    cumulative_weight: int
    cumulative_proof_target: int
    coinbase_target: int
    proof_target: int
    last_coinbase_target: int
    last_coinbase_timestamp: int
    timestamp: int

    def __post_init__(self) -> None:
        self.to_bytes()

    @classmethod
    def from_bytes(cls, data: bytes) -> BlockPrefix:
        """Read the prefix of `data`, which may be a whole block.

        Raises:
            AleoFormatError: Fewer than 345 bytes, another version, or a hash or root that
                is not a field element.
        """
        reader = Reader(data, "block")
        values = {name: _read(reader, place) for name, place in _LAYOUT.items()}
        return cls(**values)  # type: ignore[arg-type]

    def to_bytes(self) -> bytes:
        """Return the 345 bytes."""
        return b"".join(
            (_VERSION if place.versioned else b"") + _encode(name, place, getattr(self, name))
            for name, place in _LAYOUT.items()
        )

    @classmethod
    def from_json(cls, header: Mapping[str, object]) -> BlockPrefix:
        """Make a prefix from the fields as a node shows them.

        Args:
            header: All fields by name: ids as ``ab1...`` and ``sr1...``, roots as
                ``...field``, numbers as int or decimal str; other keys are ignored.

        Raises:
            AleoFormatError: A field is missing or malformed.
        """
        missing = [name for name in _LAYOUT if name not in header]
        if missing:
            raise AleoFormatError(f"the header has no {missing[0]!r}", "give all 18 fields")
        values = {name: _parse(name, place, header[name]) for name, place in _LAYOUT.items()}
        return cls(**values)  # type: ignore[arg-type]

    def to_json(self) -> dict[str, str | int]:
        """Return the fields as a node shows them; the two u128 are decimal strings."""
        shown: dict[str, str | int] = {}
        for item in fields(self):
            value, text = getattr(self, item.name), _LAYOUT[item.name].text
            if isinstance(value, bytes):
                shown[item.name] = encode_id(text, value)
            elif text == "field":
                shown[item.name] = str(Literal(LiteralType.FIELD, value))
            else:
                shown[item.name] = str(value) if text == "string" else value
        return shown


def _read(reader: Reader, place: _Field) -> bytes | int:
    if place.versioned:
        _expect(reader, _VERSION, "version")
    at, data = reader.position, reader.take(place.size)
    if place.size == 32:
        number = reader.located(at, lambda: coordinate(data, "a hash or root"))
        return number if place.text == "field" else data
    return int.from_bytes(data, "little", signed=place.signed)


def _encode(name: str, place: _Field, value: object) -> bytes:
    if place.size == 32 and place.text != "field":
        if isinstance(value, bytes) and len(value) == place.size:
            coordinate(value, name)
            return value
    elif type(value) is int:
        try:
            data = value.to_bytes(place.size, "little", signed=place.signed)
        except OverflowError:
            raise AleoFormatError(f"{name} does not fit {place.size} bytes") from None
        if place.size == 32:
            coordinate(data, name)
        return data
    raise AleoFormatError(f"{name} is a {type(value).__name__}, which does not fit its place")


def _parse(name: str, place: _Field, value: object) -> bytes | int:
    if place.text in ("number", "string"):
        if type(value) is int:
            return value
        if isinstance(value, str) and _DECIMAL.fullmatch(value):
            return int(value)
    elif isinstance(value, str):
        if place.text != "field":
            return decode_id(value, place.text)[1]
        scanner = Scanner(value, name)
        literal = scan_literal(scanner)
        scanner.finish()
        if isinstance(literal, Literal) and literal.type is LiteralType.FIELD:
            return int(literal.value)
    raise AleoFormatError(f"{name} has a {type(value).__name__} that cannot stand there")


# The walk to the transactions ---------------------------------------------------------------

_SIGNATURE = 128
_COMMITTEE_MEMBER = 42  # address 32, stake u64, open bool, commission u8
_PUBLIC_BALANCE = 40  # address 32, amount u64
_BONDED_BALANCE = 104  # staker, validator, withdrawal 32 each, amount u64
_SOLUTION = 80  # epoch hash 32, address 32, counter u64, target u64
_TRANSMISSIONS = {0: 0, 1: 8 + 16, 2: 32 + 16}  # id, and checksum u128


def transaction_count(block: bytes) -> int:
    """Count the transactions of a whole serialised block, without decoding them.

    Steps over authority, ratifications and solutions, which say their own length.

    Args:
        block: The block from its first byte; what follows the count is not looked at.

    Raises:
        AleoFormatError: Cut off, or of a form that is not known.
    """
    reader = Reader(block, "block")
    reader.skip(PREFIX_SIZE)
    _skip_authority(reader)
    _skip_ratifications(reader)
    _expect(reader, _VERSION, "solutions version")
    if _variant(reader, 1, "solutions"):
        reader.skip(reader.uint(1) * _SOLUTION)
    reader.skip(reader.uint(4) * 8)  # aborted solution ids
    _expect(reader, _VERSION, "transactions version")
    return reader.uint(4)


def _expect(reader: Reader, expected: bytes, what: str) -> None:
    at, found = reader.position, reader.take(len(expected))
    if found != expected:
        raise reader.error(f"{what} is {found[0]}, not {expected[0]}", at)


def _variant(reader: Reader, highest: int, what: str) -> int:
    at, variant = reader.position, reader.uint(1)
    if variant > highest:
        raise reader.error(f"{what} variant {variant} is unknown", at)
    return variant


def _skip_authority(reader: Reader) -> None:
    if not _variant(reader, 1, "authority"):
        reader.skip(_SIGNATURE)  # a beacon's, as in a genesis block
        return
    _expect(reader, _VERSION, "subdag version")
    for _ in range(reader.uint(4)):
        reader.skip(8)  # round
        for _ in range(reader.uint(2)):
            _skip_certificate(reader)


def _skip_certificate(reader: Reader) -> None:
    _expect(reader, _VERSION, "certificate version")
    _expect(reader, _VERSION, "batch header version")
    reader.skip(32 + 32 + 8 + 8 + 32)  # batch id, author, round, timestamp, committee id
    for _ in range(reader.uint(4)):
        reader.skip(_TRANSMISSIONS[_variant(reader, 2, "transmission id")])
    reader.skip(reader.uint(2) * 32)  # previous certificate ids
    reader.skip(_SIGNATURE)
    reader.skip(reader.uint(2) * _SIGNATURE)


def _skip_ratifications(reader: Reader) -> None:
    _expect(reader, _VERSION, "ratifications version")
    for _ in range(reader.uint(4)):
        _expect(reader, _VERSION, "ratification version")
        if _variant(reader, 2, "ratification"):
            reader.skip(8)  # a block or puzzle reward
            continue
        _expect(reader, _VERSION, "committee version")
        reader.skip(32 + 8)  # committee id, starting round
        reader.skip(reader.uint(2) * _COMMITTEE_MEMBER)
        reader.skip(8)  # total stake
        reader.skip(reader.uint(2) * _PUBLIC_BALANCE)
        reader.skip(reader.uint(2) * _BONDED_BALANCE)
