"""A cursor over foreign text: tokens, whitespace, comments, and errors with line and column.

Source of the rules: snarkVM console/network/environment/src/helpers/sanitizer.rs.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, TypeVar

from slipstream.errors import AleoFormatError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

T = TypeVar("T")

_BLANK = re.compile(r"(?:[ \t\r\n]|\\\n)*+")
_SHOWN = 40


def clip(text: str) -> str:
    """Return `text` quoted and short enough for an error message."""
    return repr(text if len(text) <= _SHOWN else f"{text[:_SHOWN]}...")


class Scanner:
    """Steps through one text.

    Args:
        text: The whole text.
        what: What it should be, for messages, e.g. ``"plaintext"``.
        strict: Literals also check that points lie in the curve's subgroup.
    """

    __slots__ = ("position", "strict", "text", "what")

    def __init__(self, text: str, what: str, *, strict: bool = False) -> None:
        self.text = text
        self.what = what
        self.strict = strict
        self.position = 0

    def error(self, message: str, at: int | None = None, hint: str = "") -> AleoFormatError:
        """Return (not raise) an error that names the line and column of `at`, or of here."""
        offset = self.position if at is None else at
        line = self.text.count("\n", 0, offset) + 1
        column = offset - self.text.rfind("\n", 0, offset)
        return AleoFormatError(
            f"{self.what}: {message} at line {line}, column {column}",
            hint or f"write the {self.what} as a node displays it",
        )

    def located(self, at: int, make: Callable[[], T]) -> T:
        """Call `make`; an `AleoFormatError` from it gets the position `at`."""
        try:
            return make()
        except AleoFormatError as error:
            raise self.error(error.message, at, error.hint) from None

    def skip(self) -> None:
        """Step over whitespace and comments (``// line`` and ``/* block */``)."""
        text = self.text
        while True:
            self.match(_BLANK)
            if text.startswith("//", self.position):
                end = text.find("\n", self.position)
                self.position = len(text) if end < 0 else end
            elif text.startswith("/*", self.position):
                end = text.find("*/", self.position + 2)
                if end < 0:
                    raise self.error("a comment has no end", hint="close it with */")
                self.position = end + 2
            else:
                return

    def peek(self) -> str:
        """Return the next character after whitespace and comments; empty at the end."""
        self.skip()
        return self.text[self.position : self.position + 1]

    def accept(self, token: str) -> bool:
        """Step over `token` if it comes next, after whitespace and comments."""
        self.skip()
        found = self.text.startswith(token, self.position)
        if found:
            self.position += len(token)
        return found

    def expect(self, token: str) -> None:
        """Step over `token`, which must come next."""
        if not self.accept(token):
            raise self.error(f"expected {token!r} and found {self.found()}")

    def items(
        self, opening: str, closing: str, limit: int, *, allow_empty: bool = False
    ) -> Iterator[None]:
        """Step through a bracketed list; the caller reads one item at each turn.

        Refuses a trailing comma, and more than `limit` items before reading them.
        """
        self.expect(opening)
        if allow_empty and self.accept(closing):
            return
        for _ in range(limit):
            yield
            if not self.accept(","):
                self.expect(closing)
                return
        raise self.error(f"there are more than {limit} items")

    def match(self, pattern: re.Pattern[str]) -> str | None:
        """Step over `pattern` if it matches right here, and return what matched."""
        found = pattern.match(self.text, self.position)
        if found is None:
            return None
        self.position = found.end()
        return found.group()

    def found(self) -> str:
        """Return what is here, quoted, for messages."""
        rest = self.text[self.position : self.position + _SHOWN + 1]
        return clip(rest) if rest else "the end"

    def finish(self) -> None:
        """Refuse anything but whitespace and comments up to the end."""
        if self.peek():
            raise self.error(f"{self.found()} is left over")
