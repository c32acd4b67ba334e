"""Plaintext: a literal, a struct or an array, nested up to 32 deep.

Bytes: u8 variant, then 0: literal; 1: u8 count, count x (identifier, u16 length, plaintext);
2: u32 count, count x (u16 length, plaintext). A length counts the whole inner plaintext.
Source: snarkVM console/program/src/data/plaintext/{bytes,parse}.rs.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from slipstream.aleo.literals import Literal, Opaque, encode_literal, read_literal, scan_literal
from slipstream.aleo.names import encode_identifier, read_identifier, scan_identifier
from slipstream.errors import AleoFormatError

if TYPE_CHECKING:
    from slipstream.aleo.reader import Reader
    from slipstream.aleo.scanner import Scanner

DEPTH_LIMIT = 32
MEMBER_LIMIT = 32
"""Members of a struct, and entries of a record."""
ELEMENT_LIMIT = 2048
"""Elements of an array, as of consensus V14; it was 512 from V11, and 32 at first."""
LENGTH_LIMIT = 0xFFFF

INDENT = "  "
_VISIBILITY = re.compile(r"\.(?:public|private|constant)\b")


def check_members(names: list[str], what: str) -> None:
    """Refuse too many names, or one that comes twice."""
    if len(names) > MEMBER_LIMIT:
        raise AleoFormatError(f"a {what} has {len(names)} members of at most {MEMBER_LIMIT}")
    if len(set(names)) != len(names):
        double = next(name for name in names if names.count(name) > 1)
        raise AleoFormatError(f"a {what} has the member {double!r} twice", "name each member once")


@dataclass(frozen=True, slots=True)
class Struct:
    """Named members, in their order."""

    members: tuple[tuple[str, Plaintext], ...]

    def __post_init__(self) -> None:
        check_members([name for name, _ in self.members], "struct")

    def __str__(self) -> str:
        return render(self)


@dataclass(frozen=True, slots=True)
class Array:
    """Elements, in their order."""

    elements: tuple[Plaintext, ...]

    def __post_init__(self) -> None:
        if len(self.elements) > ELEMENT_LIMIT:
            raise AleoFormatError(
                f"an array has {len(self.elements)} elements of at most {ELEMENT_LIMIT}"
            )

    def __str__(self) -> str:
        return render(self)


Plaintext: TypeAlias = Literal | Opaque | Struct | Array


def render(plaintext: Plaintext, indent: str = "", suffix: str = "") -> str:
    """Return the text that a node displays.

    Args:
        plaintext: What to show.
        indent: What the line that it begins on is indented by.
        suffix: Put behind each literal: a record entry's visibility.
    """
    deeper = indent + INDENT
    if isinstance(plaintext, Struct):
        lines = [
            f"\n{deeper}{name}: {render(member, deeper, suffix)}"
            for name, member in plaintext.members
        ]
        return f"{{{','.join(lines)}\n{indent}}}" if lines else "{}"
    if isinstance(plaintext, Array):
        lines = [f"\n{deeper}{render(element, deeper, suffix)}" for element in plaintext.elements]
        return f"[{','.join(lines)}\n{indent}]" if lines else "[]"
    return f"{plaintext}{suffix}"


TOO_DEEP = f"it is nested more than {DEPTH_LIMIT} deep"


# Bytes ------------------------------------------------------------------------------------


def read_plaintext(reader: Reader, depth: int = 0) -> Plaintext:
    """Read a plaintext and all there is of it, up to the reader's end."""
    at = reader.position
    if depth > DEPTH_LIMIT:
        raise reader.error(TOO_DEEP)
    variant = reader.uint(1)
    plaintext: Plaintext
    if variant == 0:
        plaintext = read_literal(reader)
    elif variant == 1:
        members = tuple(
            (read_identifier(reader), read_plaintext(reader.inner(), depth + 1))
            for _ in range(reader.uint(1))
        )
        plaintext = reader.located(at, lambda: Struct(members))
    elif variant == 2:
        count = reader.uint(4)
        if count > ELEMENT_LIMIT:
            raise reader.error(f"an array has {count} elements of at most {ELEMENT_LIMIT}", at)
        plaintext = Array(tuple(read_plaintext(reader.inner(), depth + 1) for _ in range(count)))
    else:
        raise reader.error(f"plaintext variant {variant} is unknown", at)
    reader.finish()
    return plaintext


def with_length(data: bytes) -> bytes:
    """Return u16 length and the bytes."""
    if len(data) > LENGTH_LIMIT:
        raise AleoFormatError(f"an inner value has {len(data)} bytes of at most {LENGTH_LIMIT}")
    return len(data).to_bytes(2, "little") + data


def encode_plaintext(plaintext: Plaintext, depth: int = 0) -> bytes:
    """Return the bytes that a node serialises.

    Args:
        plaintext: What to encode.
        depth: How deep it lies in another; leave it out.

    Raises:
        AleoFormatError: Too deep or too large, or a member's name is not an identifier.
    """
    if depth > DEPTH_LIMIT:
        raise AleoFormatError(TOO_DEEP)
    if isinstance(plaintext, Struct):
        parts = [bytes([1, len(plaintext.members)])]
        for name, member in plaintext.members:
            parts.append(encode_identifier(name))
            parts.append(with_length(encode_plaintext(member, depth + 1)))
        return b"".join(parts)
    if isinstance(plaintext, Array):
        inner = [with_length(encode_plaintext(item, depth + 1)) for item in plaintext.elements]
        return b"".join([b"\x02", len(inner).to_bytes(4, "little"), *inner])
    return b"\x00" + encode_literal(plaintext)


# Text -------------------------------------------------------------------------------------


def scan_plaintext(
    scanner: Scanner, visibilities: set[str] | None = None, depth: int = 0
) -> Plaintext:
    """Read the plaintext that comes next.

    Args:
        scanner: Where to read.
        visibilities: For a record's entry: each literal must end in ``.public``,
            ``.private`` or ``.constant``, and the words found are put here.
        depth: How deep it lies in another.
    """
    first = scanner.peek()
    at = scanner.position
    if depth > DEPTH_LIMIT:
        raise scanner.error(TOO_DEEP)
    if first == "{":
        members = []
        for _ in scanner.items("{", "}", MEMBER_LIMIT):
            name = scan_identifier(scanner)
            scanner.expect(":")
            members.append((name, scan_plaintext(scanner, visibilities, depth + 1)))
        return scanner.located(at, lambda: Struct(tuple(members)))
    if first == "[":
        return Array(
            tuple(
                scan_plaintext(scanner, visibilities, depth + 1)
                for _ in scanner.items("[", "]", ELEMENT_LIMIT)
            )
        )
    literal = scan_literal(scanner)
    if visibilities is not None:
        visibilities.add(scan_visibility(scanner))
    return literal


def scan_visibility(scanner: Scanner) -> str:
    """Read ``.public``, ``.private`` or ``.constant``, which must come without a space."""
    word = scanner.match(_VISIBILITY)
    if word is None:
        raise scanner.error("in a record each literal ends in .public, .private or .constant")
    return word[1:]
