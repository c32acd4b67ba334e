"""A cursor over foreign bytes that names the offset of whatever is wrong."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from slipstream.errors import AleoFormatError
from slipstream.text import counted

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")


class Reader:
    """Reads little-endian values from one buffer, never past its end.

    Args:
        data: The whole buffer; offsets in errors count from its start.
        what: What the bytes should be, for messages, e.g. ``"plaintext"``.
        strict: Literals also check that points lie in the curve's subgroup.
    """

    __slots__ = ("data", "end", "position", "strict", "what")

    def __init__(self, data: bytes, what: str, *, strict: bool = False) -> None:
        self.data = data
        self.what = what
        self.strict = strict
        self.position = 0
        self.end = len(data)

    def error(self, message: str, at: int | None = None, hint: str = "") -> AleoFormatError:
        """Return (not raise) an error that names the offset `at`, or the present one."""
        offset = self.position if at is None else at
        return AleoFormatError(
            f"{self.what}: {message} at byte {offset}",
            hint or f"pass the bytes of one whole {self.what}, as a node serialises it",
        )

    def located(self, at: int, make: Callable[[], T]) -> T:
        """Call `make`; an `AleoFormatError` from it gets the offset `at`."""
        try:
            return make()
        except AleoFormatError as error:
            raise self.error(error.message, at, error.hint) from None

    def take(self, size: int) -> bytes:
        """Return the next `size` bytes."""
        start = self.position
        if size > self.end - start:
            raise self.error(f"needs {counted(size, 'byte')} and has {self.end - start}")
        self.position = start + size
        return self.data[start : self.position]

    def skip(self, size: int) -> None:
        """Step over `size` bytes without copying them."""
        if size > self.end - self.position:
            raise self.error(f"needs {counted(size, 'byte')} and has {self.end - self.position}")
        self.position += size

    def uint(self, size: int) -> int:
        """Return the next unsigned integer of `size` bytes."""
        return int.from_bytes(self.take(size), "little")

    def rest(self) -> bytes:
        """Return all remaining bytes."""
        return self.take(self.end - self.position)

    def inner(self) -> Reader:
        """Read a u16 length and return a reader of just that many bytes, which are skipped here."""
        size = self.uint(2)
        part = Reader(self.data, self.what, strict=self.strict)
        part.position = self.position
        self.skip(size)
        part.end = self.position
        return part

    def finish(self) -> None:
        """Refuse bytes that are left over: they would be lost when encoding again."""
        if self.position != self.end:
            over = counted(self.end - self.position, "byte is", "bytes are")
            raise self.error(f"{over} left over")
