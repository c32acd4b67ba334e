"""Records whose entries are readable.

Bytes: u8 kind (2 x version, + 1 if the owner is private), owner (public: 32 bytes; private:
a plaintext), u8 count, count x (identifier, u16 length, u8 visibility, plaintext), nonce of
32 bytes. Source: snarkVM console/program/src/data/record/.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from slipstream.aleo.literals import (
    Literal,
    LiteralType,
    encode_literal,
    read_typed,
    scan_typed,
)
from slipstream.aleo.names import encode_identifier, read_identifier, scan_identifier
from slipstream.aleo.plaintext import (
    INDENT,
    MEMBER_LIMIT,
    Plaintext,
    check_members,
    encode_plaintext,
    read_plaintext,
    render,
    scan_plaintext,
    scan_visibility,
    with_length,
)
from slipstream.errors import AleoFormatError

if TYPE_CHECKING:
    from slipstream.aleo.reader import Reader
    from slipstream.aleo.scanner import Scanner

VISIBILITIES = ("constant", "public", "private")
"""By the byte that stands for each in an entry."""

# Plaintext, literal, address (u16): what stands before a private owner.
_PRIVATE_OWNER = b"\x00\x00\x00"


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry of a record.

    Attributes:
        name: Its identifier; not ``owner``.
        visibility: ``constant``, ``public`` or ``private``.
        plaintext: Its value.
    """

    name: str
    visibility: str
    plaintext: Plaintext


@dataclass(frozen=True, slots=True)
class Record:
    """What an owner holds and can spend.

    Attributes:
        owner: An address.
        owner_is_private: Whether the owner is hidden on chain.
        entries: At most 32, in their order.
        nonce: A group.
        version: 0 or 1; 0 if its text has none, as nodes before 4.12 showed it.
    """

    owner: Literal
    owner_is_private: bool
    entries: tuple[Entry, ...]
    nonce: Literal
    version: int = 0

    def __post_init__(self) -> None:
        names = [entry.name for entry in self.entries]
        check_members(names, "record")
        if "owner" in names:
            raise AleoFormatError("a record has the member 'owner' twice", "rename the entry")
        if self.owner.type is not LiteralType.ADDRESS or self.nonce.type is not LiteralType.GROUP:
            raise AleoFormatError("a record has an address as owner and a group as nonce")
        if self.version not in (0, 1):
            raise AleoFormatError(f"record version {self.version} is unknown")
        for entry in self.entries:
            if entry.visibility not in VISIBILITIES:
                raise AleoFormatError(f"the visibility {entry.visibility!r} is unknown")

    def __str__(self) -> str:
        lines = [f"owner: {self.owner}.{'private' if self.owner_is_private else 'public'}"]
        lines += [
            f"{entry.name}: {render(entry.plaintext, INDENT, f'.{entry.visibility}')}"
            for entry in self.entries
        ]
        lines += [f"_nonce: {self.nonce}.public", f"_version: {self.version}u8.public"]
        return "{" + ",".join(f"\n{INDENT}{line}" for line in lines) + "\n}"


def read_record(reader: Reader) -> Record:
    """Read a record and all there is of it, up to the reader's end."""
    at = reader.position
    version, private = divmod(reader.uint(1), 2)
    if private and reader.take(len(_PRIVATE_OWNER)) != _PRIVATE_OWNER:
        raise reader.error("a record's owner is not an address", at)
    owner = read_typed(reader, LiteralType.ADDRESS)
    entries = tuple(_read_entry(reader) for _ in range(reader.uint(1)))
    nonce = read_typed(reader, LiteralType.GROUP)
    reader.finish()
    return reader.located(at, lambda: Record(owner, bool(private), entries, nonce, version))


def _read_entry(reader: Reader) -> Entry:
    name = read_identifier(reader)
    inner = reader.inner()
    visibility = inner.uint(1)
    if visibility >= len(VISIBILITIES):
        raise inner.error(f"visibility {visibility} is unknown")
    return Entry(name, VISIBILITIES[visibility], read_plaintext(inner))


def encode_record(record: Record) -> bytes:
    """Return the bytes that a node serialises.

    Raises:
        AleoFormatError: An entry is too large or too deep, or its name no identifier.
    """
    # A literal's own bytes start with its u16 variant, which stands alone nowhere here.
    parts = [
        bytes([2 * record.version + record.owner_is_private]),
        _PRIVATE_OWNER if record.owner_is_private else b"",
        encode_literal(record.owner)[2:],
        bytes([len(record.entries)]),
    ]
    for entry in record.entries:
        visibility = bytes([VISIBILITIES.index(entry.visibility)])
        parts.append(encode_identifier(entry.name))
        parts.append(with_length(visibility + encode_plaintext(entry.plaintext)))
    return b"".join([*parts, encode_literal(record.nonce)[2:]])


def scan_record(scanner: Scanner) -> Record:
    """Read the record that comes next."""
    scanner.skip()
    at = scanner.position
    entries: list[Entry] = []
    owner: tuple[Literal, str] | None = None
    nonce: Literal | None = None
    version = 0
    # Owner and nonce, and a version at most, beside the entries.
    for _ in scanner.items("{", "}", MEMBER_LIMIT + 3):
        if owner is None:
            scanner.expect("owner")
            owner = _scan_member(scanner, LiteralType.ADDRESS, ("public", "private"))
        elif nonce is None and not scanner.accept("_nonce"):
            entries.append(_scan_entry(scanner))
        elif nonce is None:
            nonce, _ = _scan_member(scanner, LiteralType.GROUP, ("public",))
        else:
            scanner.expect("_version")
            version = int(_scan_member(scanner, LiteralType.U8, ("public",))[0].value)
    if owner is None or nonce is None:
        raise scanner.error("a record ends with its _nonce", at)
    who, visibility = owner
    return scanner.located(
        at, lambda: Record(who, visibility == "private", tuple(entries), nonce, version)
    )


def _scan_member(
    scanner: Scanner, kind: LiteralType, allowed: tuple[str, ...]
) -> tuple[Literal, str]:
    scanner.expect(":")
    scanner.skip()
    at = scanner.position
    literal = scan_typed(scanner, kind)
    visibility = scan_visibility(scanner)
    if visibility not in allowed:
        raise scanner.error(f"expected a {kind.type_name} that is {' or '.join(allowed)}", at)
    return literal, visibility


def _scan_entry(scanner: Scanner) -> Entry:
    name = scan_identifier(scanner)
    scanner.expect(":")
    at = scanner.position
    visibilities: set[str] = set()
    plaintext = scan_plaintext(scanner, visibilities)
    if len(visibilities) != 1:
        raise scanner.error(f"the entry {name!r} has literals of different visibility", at)
    return Entry(name, visibilities.pop(), plaintext)
