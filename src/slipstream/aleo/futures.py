"""Futures: calls that finalization is to run.

Bytes: program id, identifier, u8 count, count x (u16 length, argument); an argument is u8 0
and a plaintext, 1 and a future, or 2 and a dynamic future. Source: snarkVM
console/program/src/data/future/.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from slipstream.aleo.dynamic import (
    DynamicFuture,
    dynamic_future_follows,
    encode_dynamic,
    read_dynamic_future,
    scan_dynamic_future,
)
from slipstream.aleo.literals import Opaque, scan_opaque
from slipstream.aleo.names import (
    encode_identifier,
    encode_program_id,
    read_identifier,
    read_program_id,
    scan_identifier,
    scan_program_id,
)
from slipstream.aleo.plaintext import (
    DEPTH_LIMIT,
    INDENT,
    TOO_DEEP,
    Plaintext,
    encode_plaintext,
    read_plaintext,
    scan_plaintext,
    with_length,
)
from slipstream.errors import AleoFormatError

if TYPE_CHECKING:
    from slipstream.aleo.reader import Reader
    from slipstream.aleo.scanner import Scanner

ARGUMENT_LIMIT = 16


@dataclass(frozen=True, slots=True)
class Future:
    """A call that finalization is to run.

    Attributes:
        program_id: E.g. ``credits.aleo``.
        function: Its identifier.
        arguments: At most 16.
    """

    program_id: str
    function: str
    arguments: tuple[Argument, ...]

    def __post_init__(self) -> None:
        if len(self.arguments) > ARGUMENT_LIMIT:
            raise AleoFormatError(
                f"a future has {len(self.arguments)} arguments of at most {ARGUMENT_LIMIT}"
            )

    def __str__(self) -> str:
        return _render(self, "")


Argument: TypeAlias = Plaintext | Future | DynamicFuture


def _render(future: Future, indent: str) -> str:
    deeper = indent + INDENT
    # A node starts the indentation anew inside a plaintext argument, not inside a future.
    shown = [
        _render(argument, deeper + INDENT) if isinstance(argument, Future) else str(argument)
        for argument in future.arguments
    ]
    arguments = "[]"
    if shown:
        # A node puts a line of blanks after a future that comes last.
        blank = f"\n{deeper}" if isinstance(future.arguments[-1], Future) else ""
        body = ",".join(f"\n{deeper}{INDENT}{argument}" for argument in shown)
        arguments = f"[{body}{blank}\n{deeper}]"
    return (
        f"{{\n{deeper}program_id: {future.program_id},"
        f"\n{deeper}function_name: {future.function},"
        f"\n{deeper}arguments: {arguments}\n{indent}}}"
    )


def read_future(reader: Reader, depth: int = 0) -> Future:
    """Read a future and all there is of it, up to the reader's end."""
    at = reader.position
    if depth > DEPTH_LIMIT:
        raise reader.error(TOO_DEEP)
    program_id, function = read_program_id(reader), read_identifier(reader)
    count = reader.uint(1)
    arguments = tuple(_read_argument(reader.inner(), depth) for _ in range(count))
    reader.finish()
    return reader.located(at, lambda: Future(program_id, function, arguments))


def _read_argument(reader: Reader, depth: int = 0) -> Argument:
    variant = reader.uint(1)
    if variant == 0:
        return read_plaintext(reader)
    if variant == 1:
        return read_future(reader, depth + 1)
    if variant == 2:
        return read_dynamic_future(reader)
    reason = f"argument variant {variant} is unknown"
    return Opaque("argument", bytes([variant]) + reader.rest(), reason)


def encode_future(future: Future, depth: int = 0) -> bytes:
    """Return the bytes that a node serialises.

    Args:
        future: What to encode.
        depth: How deep it lies in another; leave it out.

    Raises:
        AleoFormatError: A name is not valid, or an argument too large or too deep.
    """
    if depth > DEPTH_LIMIT:
        raise AleoFormatError(TOO_DEEP)
    parts = [
        encode_program_id(future.program_id),
        encode_identifier(future.function),
        bytes([len(future.arguments)]),
    ]
    parts += [with_length(_encode_argument(argument, depth)) for argument in future.arguments]
    return b"".join(parts)


def _encode_argument(argument: Argument, depth: int) -> bytes:
    if isinstance(argument, Future):
        return b"\x01" + encode_future(argument, depth + 1)
    if isinstance(argument, DynamicFuture):
        return b"\x02" + encode_dynamic(argument)
    if isinstance(argument, Opaque) and argument.kind == "argument":
        return argument.data
    return b"\x00" + encode_plaintext(argument)


def scan_future(scanner: Scanner, depth: int = 0) -> Future:
    """Read the future that comes next."""
    if depth > DEPTH_LIMIT:
        raise scanner.error(TOO_DEEP)
    for token in ("{", "program_id", ":"):
        scanner.expect(token)
    program_id = scan_program_id(scanner)
    for token in (",", "function_name", ":"):
        scanner.expect(token)
    function = scan_identifier(scanner)
    for token in (",", "arguments", ":"):
        scanner.expect(token)
    arguments = tuple(
        _scan_argument(scanner, depth)
        for _ in scanner.items("[", "]", ARGUMENT_LIMIT, allow_empty=True)
    )
    scanner.expect("}")
    return Future(program_id, function, arguments)


def _scan_argument(scanner: Scanner, depth: int) -> Argument:
    if future_follows(scanner):
        return scan_future(scanner, depth + 1)
    if dynamic_future_follows(scanner):
        return scan_dynamic_future(scanner)
    if scanner.accept("argument("):
        scanner.position -= 1
        return scan_opaque(scanner, "argument", _read_argument)
    return scan_plaintext(scanner)


def future_follows(scanner: Scanner) -> bool:
    """Return whether a future comes next, without stepping.

    A struct may begin with a member `program_id` too; only a future's is a program id.
    """
    start = scanner.position
    try:
        for token in ("{", "program_id", ":"):
            scanner.expect(token)
        scan_program_id(scanner)
    except AleoFormatError:
        return False
    else:
        return True
    finally:
        scanner.position = start
