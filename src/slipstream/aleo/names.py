"""Identifiers and program ids.

Bytes: an identifier is u8 n and n ASCII characters, 1 to 31; a program id is two of them,
the name and ``aleo``. Plugins get these bytes, not the text. Source: snarkVM
console/program/src/data/identifier/{bytes,parse}.rs, console/program/src/id/{bytes,parse}.rs.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from slipstream.aleo.literals import LiteralType, check_spelling
from slipstream.aleo.scanner import clip
from slipstream.errors import AleoFormatError

if TYPE_CHECKING:
    from slipstream.aleo.reader import Reader
    from slipstream.aleo.scanner import Scanner

_PROGRAM_NAME = re.compile(r"[a-z][a-z0-9_]*")
_WORD = re.compile(r"[A-Za-z0-9_]*")
_NETWORK = "aleo"
_RESERVED = frozenset(kind.type_name for kind in LiteralType)


def check_identifier(name: str) -> str:
    """Return `name` if it is an identifier.

    Raises:
        AleoFormatError: It is not.
    """
    check_spelling(name)
    if name in _RESERVED:
        raise AleoFormatError(f"{name!r} is a literal type, not an identifier", "use another name")
    return name


def check_program_id(text: str) -> str:
    """Return `text` if it is a program id such as ``credits.aleo``.

    Raises:
        AleoFormatError: It is not.
    """
    name, separator, network = text.partition(".")
    if not separator or network != _NETWORK:
        raise AleoFormatError(f"{clip(text)} is not a program id", "write it as name.aleo")
    if _PROGRAM_NAME.fullmatch(check_identifier(name)) is None:
        raise AleoFormatError(f"the program name {name!r} is not lower case", "use a-z, 0-9 and _")
    return text


def encode_identifier(name: str) -> bytes:
    """Return u8 length and ASCII of an identifier."""
    data = check_identifier(name).encode("ascii")
    return bytes([len(data)]) + data


def encode_program_id(text: str) -> bytes:
    """Return the two identifiers of a program id."""
    name, network = check_program_id(text).split(".")
    return encode_identifier(name) + encode_identifier(network)


def read_identifier(reader: Reader) -> str:
    """Read an identifier."""
    at = reader.position
    data = reader.take(reader.uint(1))
    # Latin-1 takes any byte, so that only the check decides.
    return reader.located(at, lambda: check_identifier(data.decode("latin-1")))


def read_program_id(reader: Reader) -> str:
    """Read a program id."""
    at = reader.position
    text = f"{read_identifier(reader)}.{read_identifier(reader)}"
    return reader.located(at, lambda: check_program_id(text))


def scan_identifier(scanner: Scanner) -> str:
    """Read the identifier that comes next."""
    scanner.skip()
    at = scanner.position
    word = scanner.match(_WORD) or ""
    return scanner.located(at, lambda: check_identifier(word))


def scan_program_id(scanner: Scanner) -> str:
    """Read the program id that comes next."""
    scanner.skip()
    at = scanner.position
    word = scanner.match(_WORD) or ""
    if scanner.text.startswith(".", scanner.position):
        scanner.position += 1
        word = f"{word}.{scanner.match(_WORD) or ''}"
    return scanner.located(at, lambda: check_program_id(word))
