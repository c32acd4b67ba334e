"""Text and bytes of each kind of value, from end to end.

A decoder takes the bytes of exactly one value, a parser its whole text; comments and
whitespace between tokens are allowed, and what is left over is refused.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from slipstream.aleo.bech32m import decode_id
from slipstream.aleo.literals import (
    Literal,
    LiteralType,
    Opaque,
    encode_literal,
    make_literal,
    read_literal,
    scan_literal,
)
from slipstream.aleo.names import (
    encode_identifier,
    encode_program_id,
    read_identifier,
    read_program_id,
)
from slipstream.aleo.plaintext import Plaintext, encode_plaintext, read_plaintext, scan_plaintext
from slipstream.aleo.reader import Reader
from slipstream.aleo.scanner import Scanner
from slipstream.aleo.values import Value, encode_value, read_value, scan_value

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")


def _decode(data: bytes, what: str, read: Callable[[Reader], T], *, strict: bool = False) -> T:
    reader = Reader(data, what, strict=strict)
    result = read(reader)
    reader.finish()
    return result


def _parse(text: str, what: str, scan: Callable[[Scanner], T], *, strict: bool = False) -> T:
    scanner = Scanner(text, what, strict=strict)
    result = scan(scanner)
    scanner.finish()
    return result


def identifier_to_bytes(text: str) -> bytes:
    """Return the bytes of an identifier such as ``account``: u8 length and ASCII.

    Raises:
        AleoFormatError: Not a letter followed by letters, digits and ``_``, longer than 31,
            or the name of a literal type.
    """
    return encode_identifier(text)


def identifier_to_text(data: bytes) -> str:
    """Return the name in an identifier's bytes.

    Raises:
        AleoFormatError: The bytes are not one identifier.
    """
    return _decode(data, "identifier", read_identifier)


def program_id_to_bytes(text: str) -> bytes:
    """Return the bytes of e.g. ``credits.aleo``: two identifiers, 13 bytes for this one.

    Raises:
        AleoFormatError: Not ``name.aleo`` with a lower-case name.
    """
    return encode_program_id(text)


def program_id_to_text(data: bytes) -> str:
    """Return e.g. ``credits.aleo`` from a program id's bytes.

    Raises:
        AleoFormatError: The bytes are not one program id.
    """
    return _decode(data, "program id", read_program_id)


def address_to_bytes(text: str, *, strict: bool = False) -> bytes:
    """Return the 32 bytes (the x-coordinate) of an ``aleo1...`` address.

    Args:
        text: 63 characters.
        strict: Also check that it is a point of the curve's subgroup.

    Raises:
        AleoFormatError: Not an address.
    """
    literal = make_literal(LiteralType.ADDRESS, decode_id(text, "aleo")[1], strict=strict)
    return encode_literal(literal)[2:]


def address_to_text(data: bytes, *, strict: bool = False) -> str:
    """Return the ``aleo1...`` text of an address's 32 bytes.

    Args:
        data: As in a staking reward; a mapping's key has 3 bytes more before them.
        strict: Also check that it is a point of the curve's subgroup.

    Raises:
        AleoFormatError: Not 32 bytes, or not below the modulus.
    """
    return str(make_literal(LiteralType.ADDRESS, bytes(data), strict=strict))


def decode_literal(data: bytes, *, strict: bool = False) -> Literal | Opaque:
    """Decode a literal: u16 variant and primitive.

    Args:
        data: Exactly one literal.
        strict: Also check that addresses, groups and signatures hold points of the subgroup.

    Raises:
        AleoFormatError: Malformed; the message has the offset.
    """
    return _decode(data, "literal", read_literal, strict=strict)


def parse_literal(text: str, *, strict: bool = False) -> Literal | Opaque:
    """Parse a literal such as ``5u64``, ``-1field`` or ``true``.

    Raises:
        AleoFormatError: Malformed; the message has line and column.
    """
    return _parse(text, "literal", scan_literal, strict=strict)


def literal_to_bytes(text: str, *, strict: bool = False) -> bytes:
    """Return the bytes of a literal's text; see `parse_literal`."""
    return encode_literal(parse_literal(text, strict=strict))


def literal_to_text(data: bytes, *, strict: bool = False) -> str:
    """Return the text of a literal's bytes; see `decode_literal`."""
    return str(decode_literal(data, strict=strict))


def decode_plaintext(data: bytes, *, strict: bool = False) -> Plaintext:
    """Decode a plaintext, e.g. a mapping's key.

    Args:
        data: Exactly one plaintext.
        strict: Also check that addresses, groups and signatures hold points of the subgroup.

    Raises:
        AleoFormatError: Malformed; the message has the offset.
    """
    return _decode(data, "plaintext", read_plaintext, strict=strict)


def parse_plaintext(text: str, *, strict: bool = False) -> Plaintext:
    """Parse a literal, a struct ``{ a: 1u8 }`` or an array ``[1u8, 2u8]``.

    Raises:
        AleoFormatError: Malformed; the message has line and column.
    """
    return _parse(text, "plaintext", scan_plaintext, strict=strict)


def plaintext_to_bytes(text: str, *, strict: bool = False) -> bytes:
    """Return the bytes of a plaintext's text; see `parse_plaintext`."""
    return encode_plaintext(parse_plaintext(text, strict=strict))


def plaintext_to_text(data: bytes, *, strict: bool = False) -> str:
    """Return the text of a plaintext's bytes; see `decode_plaintext`."""
    return str(decode_plaintext(data, strict=strict))


def decode_value(data: bytes, *, strict: bool = False) -> Value:
    """Decode a value, e.g. what a mapping holds.

    Args:
        data: Exactly one value.
        strict: Refuse an unreadable record or future, which is an `Opaque` otherwise, and
            check that addresses, groups and signatures hold points of the subgroup.

    Raises:
        AleoFormatError: Empty, or a malformed plaintext; the message has the offset.
    """
    return _decode(data, "value", read_value, strict=strict)


def parse_value(text: str, *, strict: bool = False) -> Value:
    """Parse a plaintext, a record or a future.

    Raises:
        AleoFormatError: Malformed; the message has line and column.
    """
    return _parse(text, "value", scan_value, strict=strict)


def value_to_bytes(text: str, *, strict: bool = False) -> bytes:
    """Return the bytes of a value's text; see `parse_value`."""
    return encode_value(parse_value(text, strict=strict))


def value_to_text(data: bytes, *, strict: bool = False) -> str:
    """Return the text of a value's bytes; see `decode_value`."""
    return str(decode_value(data, strict=strict))
