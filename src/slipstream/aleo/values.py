"""Values: a plaintext, a record or a future; what a mapping, an input or an output holds.

Bytes: u8 variant, then 0: plaintext; 1: record; 2: future. A mapping's value is always a
plaintext. Source: snarkVM console/program/src/data/value/{bytes,parse}.rs.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, TypeAlias

from slipstream.aleo.futures import (
    Future,
    encode_future,
    future_follows,
    read_future,
    scan_future,
)
from slipstream.aleo.literals import Opaque, scan_opaque
from slipstream.aleo.plaintext import Plaintext, encode_plaintext, read_plaintext, scan_plaintext
from slipstream.aleo.records import Record, encode_record, read_record, scan_record
from slipstream.errors import AleoFormatError

if TYPE_CHECKING:
    from slipstream.aleo.reader import Reader
    from slipstream.aleo.scanner import Scanner

Value: TypeAlias = Plaintext | Record | Future

_OWNER = re.compile(r"aleo1[a-z0-9]*\.p")


def read_value(reader: Reader) -> Value:
    """Read a value and all there is of it, up to the reader's end.

    Newer variants, and records and futures that cannot be read, become an `Opaque`: their
    forms change with versions of the node, and hex is better than nothing. With `strict`
    an unreadable record or future is an error.
    """
    at = reader.position
    variant = reader.uint(1)
    if variant == 0:
        return read_plaintext(reader)
    reason = f"value variant {variant} is unknown"
    try:
        if variant == 1:
            return read_record(reader)
        if variant == 2:
            return read_future(reader)
    except AleoFormatError as error:
        if reader.strict:
            raise
        reason = error.message
    reader.position = at
    return Opaque("value", reader.rest(), reason)


def encode_value(value: Value) -> bytes:
    """Return the bytes that a node serialises.

    Raises:
        AleoFormatError: A name is not valid, or a part too large or too deep.
    """
    if isinstance(value, Record):
        return b"\x01" + encode_record(value)
    if isinstance(value, Future):
        return b"\x02" + encode_future(value)
    if isinstance(value, Opaque) and value.kind == "value":
        return value.data
    return b"\x00" + encode_plaintext(value)


def scan_value(scanner: Scanner) -> Value:
    """Read the value that comes next."""
    if future_follows(scanner):
        return scan_future(scanner)
    if _record_follows(scanner):
        return scan_record(scanner)
    if scanner.accept("value("):
        scanner.position -= 1
        return scan_opaque(scanner, "value", read_value)
    return scan_plaintext(scanner)


def _record_follows(scanner: Scanner) -> bool:
    """Return whether a record comes next: its owner has a visibility, a struct's has not."""
    scanner.skip()
    start = scanner.position
    found = all(map(scanner.accept, ("{", "owner", ":")))
    scanner.skip()
    found = found and scanner.match(_OWNER) is not None
    scanner.position = start
    return found
