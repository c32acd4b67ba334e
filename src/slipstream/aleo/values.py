"""Values: a plaintext, a record or a future; what a mapping, an input or an output holds.

Bytes: u8 variant, then 0: plaintext; 1: record; 2: future; 3: dynamic record; 4: dynamic
future. A mapping's value is always a plaintext. Source: snarkVM
console/program/src/data/value/{bytes,parse}.rs.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, TypeAlias

from slipstream.aleo.dynamic import (
    DynamicFuture,
    DynamicRecord,
    dynamic_future_follows,
    encode_dynamic,
    read_dynamic_future,
    read_dynamic_record,
    scan_dynamic_future,
    scan_dynamic_record,
)
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
    from collections.abc import Callable

    from slipstream.aleo.reader import Reader
    from slipstream.aleo.scanner import Scanner

Value: TypeAlias = Plaintext | Record | Future | DynamicRecord | DynamicFuture

_OWNER = re.compile(r"aleo1[a-z0-9]*(?:\.p)?")
_READERS: dict[int, Callable[[Reader], Value]] = {
    1: read_record,
    2: read_future,
    3: read_dynamic_record,
    4: read_dynamic_future,
}


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
    read = _READERS.get(variant)
    try:
        if read is not None:
            return read(reader)
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
    if isinstance(value, DynamicRecord | DynamicFuture):
        return (b"\x03" if isinstance(value, DynamicRecord) else b"\x04") + encode_dynamic(value)
    if isinstance(value, Opaque) and value.kind == "value":
        return value.data
    return b"\x00" + encode_plaintext(value)


def scan_value(scanner: Scanner) -> Value:
    """Read the value that comes next."""
    if future_follows(scanner):
        return scan_future(scanner)
    if dynamic_future_follows(scanner):
        return scan_dynamic_future(scanner)
    record = _record_that_follows(scanner)
    if record is not None:
        return record(scanner)
    if scanner.accept("value("):
        scanner.position -= 1
        return scan_opaque(scanner, "value", read_value)
    return scan_plaintext(scanner)


def _record_that_follows(scanner: Scanner) -> Callable[[Scanner], Value] | None:
    """Return what scans the record that comes next, if one does.

    A struct may begin with an owner, too: a record's has a visibility, and behind that of a
    dynamic record comes a root, whose name no member can have.
    """
    scanner.skip()
    start = scanner.position
    found = all(map(scanner.accept, ("{", "owner", ":")))
    scanner.skip()
    owner = scanner.match(_OWNER) if found else None
    scan: Callable[[Scanner], Value] | None = None
    if owner is not None and owner.endswith(".p"):
        scan = scan_record
    elif owner is not None and scanner.accept(",") and scanner.accept("_root"):
        scan = scan_dynamic_record
    scanner.position = start
    return scan
