"""Records and futures of calls whose target is known only when they run.

Only the hash of their data travels with them. Bytes: u8 1, then for a record its owner, root
and nonce of 32 bytes each and u8 version; for a future its program's name and network, its
function and the checksum of its arguments, 32 bytes each. Source: snarkVM (4.12)
console/program/src/data/dynamic/.
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
from slipstream.aleo.names import (
    check_identifier,
    check_program_id,
    scan_identifier,
    scan_program_id,
)
from slipstream.aleo.plaintext import INDENT
from slipstream.errors import AleoFormatError

if TYPE_CHECKING:
    from slipstream.aleo.reader import Reader
    from slipstream.aleo.scanner import Scanner

_FORM = 1
"""The first byte of either: which form its bytes have."""


def _check_types(*parts: tuple[str, Literal, LiteralType]) -> None:
    for name, literal, kind in parts:
        if literal.type is not kind:
            raise AleoFormatError(f"{name} is not a {kind.type_name}")


@dataclass(frozen=True, slots=True)
class DynamicRecord:
    """A record without its entries.

    Attributes:
        owner: An address.
        root: A field: the root of the hash tree over the entries.
        nonce: A group.
        version: 0 to 255; 0 if its text has none.
    """

    owner: Literal
    root: Literal
    nonce: Literal
    version: int = 0

    def __post_init__(self) -> None:
        _check_types(
            ("the owner", self.owner, LiteralType.ADDRESS),
            ("the root", self.root, LiteralType.FIELD),
            ("the nonce", self.nonce, LiteralType.GROUP),
        )
        Literal(LiteralType.U8, self.version)

    def __str__(self) -> str:
        return (
            f"{{\n{INDENT}owner: {self.owner},\n{INDENT}_root: {self.root},"
            f"\n{INDENT}_nonce: {self.nonce},\n{INDENT}_version: {self.version}u8\n}}"
        )


@dataclass(frozen=True, slots=True)
class DynamicFuture:
    """A future without its arguments.

    Attributes:
        program_name: A field: the name's ASCII, the first character in its lowest byte.
        program_network: The same for what stands behind the point.
        function_name: The same for the function.
        checksum: A field: what the arguments hash to.
    """

    program_name: Literal
    program_network: Literal
    function_name: Literal
    checksum: Literal

    def __post_init__(self) -> None:
        _check_types(
            ("the program's name", self.program_name, LiteralType.FIELD),
            ("the program's network", self.program_network, LiteralType.FIELD),
            ("the function's name", self.function_name, LiteralType.FIELD),
            ("the checksum", self.checksum, LiteralType.FIELD),
        )

    def __str__(self) -> str:
        """Return the text with names, or with fields where these are no names."""
        parts = (self.program_name, self.program_network, self.function_name)
        name, network, function = map(_characters, parts)
        try:
            program_id = check_program_id(f"{name}.{network}")
            check_identifier(function)
        except AleoFormatError:
            return (
                f"{{ _program_name: {self.program_name}, "
                f"_program_network: {self.program_network}, "
                f"_function_name: {self.function_name}, _checksum: {self.checksum} }}"
            )
        return (
            f"{{ _program_id: {program_id}, _function_name: {function}, "
            f"_checksum: {self.checksum} }}"
        )


def _characters(name: Literal) -> str:
    data = int(name.value).to_bytes(32, "little")
    return data.rstrip(b"\0").decode("latin-1")


def _named(name: str) -> Literal:
    return Literal(LiteralType.FIELD, int.from_bytes(name.encode("ascii"), "little"))


# Bytes ------------------------------------------------------------------------------------


def _read_form(reader: Reader, what: str) -> None:
    at = reader.position
    form = reader.uint(1)
    if form != _FORM:
        raise reader.error(f"form {form} of a dynamic {what} is unknown", at)


def read_dynamic_record(reader: Reader) -> DynamicRecord:
    """Read a dynamic record and all there is of it, up to the reader's end."""
    _read_form(reader, "record")
    record = DynamicRecord(
        read_typed(reader, LiteralType.ADDRESS),
        read_typed(reader, LiteralType.FIELD),
        read_typed(reader, LiteralType.GROUP),
        reader.uint(1),
    )
    reader.finish()
    return record


def read_dynamic_future(reader: Reader) -> DynamicFuture:
    """Read a dynamic future and all there is of it, up to the reader's end."""
    _read_form(reader, "future")
    future = DynamicFuture(*(read_typed(reader, LiteralType.FIELD) for _ in range(4)))
    reader.finish()
    return future


def encode_dynamic(dynamic: DynamicRecord | DynamicFuture) -> bytes:
    """Return the bytes that a node serialises."""
    parts: tuple[Literal, ...]
    if isinstance(dynamic, DynamicRecord):
        parts, end = (dynamic.owner, dynamic.root, dynamic.nonce), bytes([dynamic.version])
    else:
        names = (dynamic.program_name, dynamic.program_network, dynamic.function_name)
        parts, end = (*names, dynamic.checksum), b""
    # Their types are known, so that the u16 variants of the literals are left out.
    return b"".join([bytes([_FORM]), *(encode_literal(part)[2:] for part in parts), end])


# Text -------------------------------------------------------------------------------------


def _follows(scanner: Scanner, tokens: tuple[str, ...]) -> bool:
    scanner.skip()
    start = scanner.position
    found = all(map(scanner.accept, tokens))
    scanner.position = start
    return found


def _expect(scanner: Scanner, *tokens: str) -> None:
    for token in tokens:
        scanner.expect(token)


def dynamic_future_follows(scanner: Scanner) -> bool:
    """Return whether a dynamic future comes next: a struct's names begin with a letter."""
    return _follows(scanner, ("{", "_program_"))


def scan_dynamic_record(scanner: Scanner) -> DynamicRecord:
    """Read the dynamic record that comes next."""
    _expect(scanner, "{", "owner", ":")
    owner = scan_typed(scanner, LiteralType.ADDRESS)
    _expect(scanner, ",", "_root", ":")
    root = scan_typed(scanner, LiteralType.FIELD)
    _expect(scanner, ",", "_nonce", ":")
    nonce = scan_typed(scanner, LiteralType.GROUP)
    version = 0
    if scanner.accept(","):
        _expect(scanner, "_version", ":")
        version = int(scan_typed(scanner, LiteralType.U8).value)
    scanner.expect("}")
    return DynamicRecord(owner, root, nonce, version)


def scan_dynamic_future(scanner: Scanner) -> DynamicFuture:
    """Read the dynamic future that comes next."""
    scanner.expect("{")
    if scanner.accept("_program_id"):
        scanner.expect(":")
        name, network = map(_named, scan_program_id(scanner).split("."))
        _expect(scanner, ",", "_function_name", ":")
        function = _named(scan_identifier(scanner))
    else:
        _expect(scanner, "_program_name", ":")
        name = scan_typed(scanner, LiteralType.FIELD)
        _expect(scanner, ",", "_program_network", ":")
        network = scan_typed(scanner, LiteralType.FIELD)
        _expect(scanner, ",", "_function_name", ":")
        function = scan_typed(scanner, LiteralType.FIELD)
    _expect(scanner, ",", "_checksum", ":")
    checksum = scan_typed(scanner, LiteralType.FIELD)
    scanner.expect("}")
    return DynamicFuture(name, network, function, checksum)
