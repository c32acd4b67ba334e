"""Literals: one typed value such as ``5u64``, ``true`` or an address.

Bytes: u16 variant, then the primitive; all integers little-endian. Source: snarkVM
console/program/src/data/literal/{bytes,parse}.rs and console/types/*.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from enum import IntEnum
from typing import TYPE_CHECKING, TypeAlias, TypeVar

from slipstream.aleo.bech32m import ID_SIZES, decode_id, encode_id
from slipstream.aleo.curve import BASE_MODULUS, SCALAR_MODULUS, is_group_x
from slipstream.aleo.reader import Reader
from slipstream.aleo.scanner import Scanner, clip
from slipstream.errors import AleoFormatError

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")

Primitive: TypeAlias = bool | int | str | bytes

STRING_LIMIT = 255
"""Bytes of UTF-8 that a string may have."""


class LiteralType(IntEnum):
    """The literal variants by number; newer ones stay opaque (see `Opaque`)."""

    ADDRESS = 0
    BOOLEAN = 1
    FIELD = 2
    GROUP = 3
    I8 = 4
    I16 = 5
    I32 = 6
    I64 = 7
    I128 = 8
    U8 = 9
    U16 = 10
    U32 = 11
    U64 = 12
    U128 = 13
    SCALAR = 14
    SIGNATURE = 15
    STRING = 16
    IDENTIFIER = 17

    @property
    def type_name(self) -> str:
        """The name in text, e.g. ``u64``; the suffix where numbers have one."""
        return self.name.lower()


# Size in bytes, lowest value, and one above the highest.
_NUMBERS: dict[LiteralType, tuple[int, int, int]] = {
    LiteralType.FIELD: (32, 0, BASE_MODULUS),
    LiteralType.GROUP: (32, 0, BASE_MODULUS),
    LiteralType.SCALAR: (32, 0, SCALAR_MODULUS),
}
for _bits in (8, 16, 32, 64, 128):
    _NUMBERS[LiteralType[f"U{_bits}"]] = (_bits // 8, 0, 1 << _bits)
    _NUMBERS[LiteralType[f"I{_bits}"]] = (_bits // 8, -1 << _bits - 1, 1 << _bits - 1)

_MODULAR = (LiteralType.FIELD, LiteralType.GROUP, LiteralType.SCALAR)
_BY_SUFFIX = {kind.type_name: kind for kind in _NUMBERS}
_PREFIXES = {LiteralType.ADDRESS: "aleo", LiteralType.SIGNATURE: "sign"}
_BY_PREFIX = {prefix: kind for kind, prefix in _PREFIXES.items()}
_IDENTIFIER = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,30}")


@dataclass(frozen=True, slots=True)
class Literal:
    """One typed value.

    Attributes:
        type: Which type.
        value: bool for a boolean; int for integers, fields, scalars and groups (a group is
            its x-coordinate); str for a string and an identifier; bytes for an address (32,
            the x-coordinate) and a signature (128: challenge, response, two x-coordinates).

    Raises:
        AleoFormatError: The value is not one of the type.
    """

    type: LiteralType
    value: Primitive

    def __post_init__(self) -> None:
        _check(self.type, self.value)

    def __str__(self) -> str:
        """Return the text that a node displays.

        A string is printed raw, as a node does: one that has quotes, backslashes or
        control characters does not parse back, and may not be safe to show.
        """
        value = self.value
        if isinstance(value, bool):
            return "true" if value else "false"
        if isinstance(value, str):
            return f"'{value}'" if self.type is LiteralType.IDENTIFIER else f'"{value}"'
        if isinstance(value, bytes):
            return encode_id(_PREFIXES[self.type], value)
        return f"{value}{self.type.type_name}"


@dataclass(frozen=True, slots=True)
class Opaque:
    """Bytes of a variant that this version cannot show as what it is.

    Attributes:
        kind: What it stands for: ``literal``, ``argument`` (of a future) or ``value``.
        data: Its whole encoding, variant included.
        reason: Why it was not decoded.
    """

    kind: str
    data: bytes
    reason: str = field(default="", compare=False)

    def __str__(self) -> str:
        """Return e.g. ``literal(0x1200ab)``, which the parsers here take back."""
        return f"{self.kind}(0x{self.data.hex()})"


def coordinate(data: bytes, what: str, modulus: int = BASE_MODULUS) -> int:
    """Return the field element in 32 little-endian bytes, refusing an unreduced one."""
    number = int.from_bytes(data, "little")
    if number >= modulus:
        raise AleoFormatError(f"{what} is not below the modulus")
    return number


def check_spelling(name: str) -> None:
    """Refuse what does not look like an identifier, be it a literal or a name."""
    if _IDENTIFIER.fullmatch(name) is None:
        raise AleoFormatError(
            f"{clip(name)} is not an identifier",
            "use a letter, then letters, digits or _; up to 31",
        )


def _check(kind: LiteralType, value: object) -> None:
    name = kind.type_name
    if kind in _NUMBERS and type(value) is int:
        _, low, above = _NUMBERS[kind]
        if not low <= value < above:
            raise AleoFormatError(f"the number is out of range: a {name} is {low} to {above - 1}")
    elif kind is LiteralType.STRING and type(value) is str:
        _string_bytes(value)
    elif kind is LiteralType.IDENTIFIER and type(value) is str:
        check_spelling(value)
    elif kind in _PREFIXES and type(value) is bytes:
        _check_parts(kind, value)
    elif kind is not LiteralType.BOOLEAN or type(value) is not bool:
        raise AleoFormatError(
            f"a literal of the type {name} cannot hold a value of {type(value).__name__}"
        )


def _check_parts(kind: LiteralType, data: bytes) -> None:
    """Refuse a wrong size, or one of the 32-byte parts that is not reduced."""
    size = ID_SIZES[_PREFIXES[kind]]
    if len(data) != size:
        raise AleoFormatError(f"the {kind.type_name} has {size} bytes, not {len(data)}")
    scalars = 2 if kind is LiteralType.SIGNATURE else 0
    for part, at in enumerate(range(0, size, 32)):
        modulus = SCALAR_MODULUS if part < scalars else BASE_MODULUS
        coordinate(data[at : at + 32], f"part {part} of the {kind.type_name}", modulus)


def _string_bytes(text: str) -> bytes:
    try:
        data = text.encode()
    except UnicodeEncodeError:
        raise AleoFormatError("a string has half of a surrogate pair") from None
    if len(data) > STRING_LIMIT:
        raise AleoFormatError(f"a string has {len(data)} bytes of at most {STRING_LIMIT}")
    return data


def check_points(literal: Literal) -> None:
    """Refuse an address, group or signature whose x-coordinates no node would accept."""
    value = literal.value
    if isinstance(value, bytes):
        parts = value if literal.type is LiteralType.ADDRESS else value[64:]
        points = [int.from_bytes(parts[at : at + 32], "little") for at in range(0, len(parts), 32)]
    else:
        points = [int(value)] if literal.type is LiteralType.GROUP else []
    if not all(map(is_group_x, points)):
        raise AleoFormatError(
            f"this {literal.type.type_name} is not a point of the curve's subgroup",
            "a node refuses it; check where it comes from, or decode without strict",
        )


def make_literal(kind: LiteralType, value: Primitive, *, strict: bool) -> Literal:
    """Return the literal, with the check of its points if `strict`."""
    literal = Literal(kind, value)
    if strict:
        check_points(literal)
    return literal


# Bytes ------------------------------------------------------------------------------------


def read_literal(reader: Reader) -> Literal | Opaque:
    """Read a literal; one of an unknown variant takes all that is left, as an `Opaque`."""
    at = reader.position
    variant = reader.uint(2)
    try:
        kind = LiteralType(variant)
    except ValueError:
        # Newer nodes have more variants. All literals have a byte or more behind it.
        if reader.position == reader.end:
            raise reader.error(f"literal variant {variant} is unknown and empty", at) from None
        reason = f"literal variant {variant} is unknown"
        return Opaque("literal", variant.to_bytes(2, "little") + reader.rest(), reason)
    value = _read_primitive(reader, kind)
    return reader.located(at, lambda: make_literal(kind, value, strict=reader.strict))


def read_typed(reader: Reader, kind: LiteralType) -> Literal:
    """Read the primitive of a literal whose type is known, without the variant."""
    at = reader.position
    value = _read_primitive(reader, kind)
    return reader.located(at, lambda: make_literal(kind, value, strict=reader.strict))


def _read_primitive(reader: Reader, kind: LiteralType) -> Primitive:
    if kind in _NUMBERS:
        size, low, _ = _NUMBERS[kind]
        return int.from_bytes(reader.take(size), "little", signed=low < 0)
    if kind in _PREFIXES:
        return reader.take(ID_SIZES[_PREFIXES[kind]])
    at = reader.position
    if kind is LiteralType.BOOLEAN:
        byte = reader.uint(1)
        if byte > 1:
            raise reader.error(f"a boolean is 0 or 1, not {byte}", at)
        return bool(byte)
    if kind is LiteralType.IDENTIFIER:
        # Latin-1 takes any byte, so that only the check of the literal decides.
        return reader.take(reader.uint(1)).decode("latin-1")
    try:
        return reader.take(reader.uint(2)).decode()
    except UnicodeDecodeError:
        raise reader.error("a string is not UTF-8", at) from None


def encode_literal(literal: Literal | Opaque) -> bytes:
    """Return u16 variant and primitive."""
    if isinstance(literal, Opaque):
        if literal.kind != "literal":
            raise AleoFormatError(f"an opaque {literal.kind} cannot stand for a literal")
        return literal.data
    kind, value = literal.type, literal.value
    if kind is LiteralType.IDENTIFIER:
        data = str(value).encode("ascii")
        body = bytes([len(data)]) + data
    elif isinstance(value, str):
        data = _string_bytes(value)
        body = len(data).to_bytes(2, "little") + data
    elif isinstance(value, bytes):
        body = value
    elif isinstance(value, bool):
        body = bytes([value])
    else:
        size, low, _ = _NUMBERS[kind]
        body = value.to_bytes(size, "little", signed=low < 0)
    return kind.to_bytes(2, "little") + body


# Text -------------------------------------------------------------------------------------

_DIGITS = re.compile(r"-?[0-9][0-9_]*")
_WORD = re.compile(r"[A-Za-z0-9_]*")
_PROGRAM = re.compile(r"\.[A-Za-z]")
_QUOTED = re.compile(r"'[A-Za-z0-9_]*+'")
_HEX = re.compile(r"\(0x(?:[0-9a-f]{2})+\)")
_PLAIN = re.compile(r'[^"\\]+')
_ESCAPE = re.compile(r"\\(?:u\{([0-9A-Fa-f]{1,6})\}|([nrtbf\\/\"])|[ \t\r\n]+)")
_ESCAPED = {"n": "\n", "r": "\r", "t": "\t", "b": "\b", "f": "\f"}
# Control characters, and those that reorder what a reader sees.
_UNSAFE = re.compile("[\0-\x08\x0b\x0c\x0e-\x1f\x7f\u202a-\u202e\u2066-\u2069]")
# A field's value is taken modulo p, so upstream has no limit; this one keeps it cheap and
# is below the limit of Python's own conversion (`sys.set_int_max_str_digits`).
_MOST_DIGITS = 600


def scan_literal(scanner: Scanner) -> Literal | Opaque:
    """Read the literal that comes next."""
    first = scanner.peek()
    at = scanner.position
    if first == '"':
        text = _scan_string(scanner)
        return scanner.located(at, lambda: Literal(LiteralType.STRING, text))
    if first == "'":
        quoted = scanner.match(_QUOTED)
        if quoted is None:
            raise scanner.error(
                f"{scanner.found()} is not an identifier", at, "write one in quotes, e.g. 'abc'"
            )
        return scanner.located(at, lambda: Literal(LiteralType.IDENTIFIER, quoted[1:-1]))
    digits = scanner.match(_DIGITS)
    word = scanner.match(_WORD) or ""
    if digits is not None:
        return scanner.located(at, lambda: _number(digits, word, strict=scanner.strict))
    if word in ("true", "false"):
        return Literal(LiteralType.BOOLEAN, word == "true")
    if word == "literal":
        return scan_opaque(scanner, "literal", read_literal)
    prefix, separator, _ = word.partition("1")
    kind = _BY_PREFIX.get(prefix)
    if kind is not None and separator:
        return scanner.located(
            at, lambda: make_literal(kind, decode_id(word, prefix)[1], strict=scanner.strict)
        )
    if word and scanner.match(_PROGRAM):
        raise scanner.error(
            "a program id cannot stand for its address here", at, "write the address, aleo1..."
        )
    scanner.position = at
    raise scanner.error(f"{scanner.found()} is not a value", at)


def scan_typed(scanner: Scanner, kind: LiteralType) -> Literal:
    """Read the literal that comes next, which must be of this type."""
    scanner.skip()
    at = scanner.position
    literal = scan_literal(scanner)
    if not isinstance(literal, Literal) or literal.type is not kind:
        raise scanner.error(f"expected a {kind.type_name}", at)
    return literal


def scan_opaque(scanner: Scanner, kind: str, read: Callable[[Reader], T]) -> T:
    """Read the ``(0x...)`` of an `Opaque` after its kind; known variants become what they are."""
    at = scanner.position
    found = scanner.match(_HEX)
    if found is None:
        raise scanner.error(f"expected (0x...) after {kind!r}", hint=f"write {kind}(0x0a1b)")
    reader = Reader(bytes.fromhex(found[3:-1]), kind, strict=scanner.strict)
    result = scanner.located(at, lambda: read(reader))
    scanner.located(at, reader.finish)
    return result


def _number(digits: str, suffix: str, *, strict: bool) -> Literal:
    kind = _BY_SUFFIX.get(suffix)
    if kind is None:
        what = f"{clip(suffix)} is not a numeric type" if suffix else "a number has no type"
        raise AleoFormatError(what, "end it with its type, e.g. 5u64 or 1field")
    sign, digits = digits.startswith("-"), digits.lstrip("-").replace("_", "")
    _, low, above = _NUMBERS[kind]
    if kind in _MODULAR:
        if digits[0] == "0" and len(digits) > 1:
            raise AleoFormatError(f"a {suffix} has a leading zero", "leave the zeros out")
    else:
        digits = digits.lstrip("0") or "0"
        if sign and low == 0:
            raise AleoFormatError(f"a {suffix} has no sign")
    if len(digits) > _MOST_DIGITS:
        raise AleoFormatError(f"a {suffix} of {len(digits)} digits is too long")
    number = -int(digits) if sign else int(digits)
    return make_literal(kind, number % above if kind in _MODULAR else number, strict=strict)


def _scan_string(scanner: Scanner) -> str:
    """Read a quoted string (snarkVM console/network/environment/src/helpers/mod.rs)."""
    at = scanner.position
    scanner.position += 1
    parts: list[str] = []
    while not scanner.text.startswith('"', scanner.position):
        here = scanner.position
        plain = scanner.match(_PLAIN)
        escape = None if plain else _ESCAPE.match(scanner.text, here)
        if plain is not None:
            unsafe = _UNSAFE.search(plain)
            if unsafe is not None:
                raise scanner.error(
                    f"a string has the character U+{ord(unsafe.group()):04X}",
                    here + unsafe.start(),
                    "write it as an escape, e.g. \\u{7}",
                )
            parts.append(plain)
        elif escape is not None:
            scanner.position = escape.end()
            parts.append(_unescape(scanner, escape))
        elif here == len(scanner.text):
            raise scanner.error("a string has no end", at, "close it with a quote")
        else:
            raise scanner.error(f"{scanner.found()} is not an escape that strings have")
    scanner.position += 1
    return "".join(parts)


def _unescape(scanner: Scanner, escape: re.Match[str]) -> str:
    code, letter = escape.groups()
    if letter is not None:
        return _ESCAPED.get(letter, letter)
    if code is None:  # an escaped line break is left out
        return ""
    number = int(code, 16)
    if number > 0x10FFFF or 0xD800 <= number < 0xE000:
        raise scanner.error(f"U+{number:X} is not a character", escape.start())
    return chr(number)
