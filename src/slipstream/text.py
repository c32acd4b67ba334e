"""Texts of others, made safe to show or read strictly; numbers with what they count."""

from __future__ import annotations

import re

_HEX = re.compile(r"[0-9A-Fa-f]{1,16}")


def printable(text: str) -> str:
    """Escapes what would disturb a terminal or a log.

    Args:
        text: Any text.

    Returns:
        The text with control characters, lone surrogates and the like as escapes.
    """
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def quoted(data: bytes) -> str:
    """Return bytes that should be a text in quotes, with escapes for those that are not."""
    return f'"{printable(data.decode("utf-8", "backslashreplace"))}"'


def is_utf8(text: str) -> bool:
    """Tell whether all of a text came from UTF-8: other bytes come in as lone surrogates."""
    return not re.search("[\ud800-\udfff]", text)


def read_hex(text: str) -> int:
    """Reads a number of 64 bits, such as that of a stream.

    Args:
        text: 1 to 16 hexadecimal digits, and nothing else: no sign, prefix, space or underscore.

    Returns:
        The number.

    Raises:
        ValueError: The text is something else.
    """
    if _HEX.fullmatch(text) is None:
        raise ValueError(text)
    return int(text, 16)


def counted(number: int, one: str, many: str = "") -> str:
    """Return a number and what is counted, in the form that goes with it.

    Args:
        number: How many.
        one: What is said after 1, such as "event" or "event was".
        many: What is said after any other number; by default `one` with an s.

    Returns:
        Such as "1,250 events".
    """
    return f"{number:,} {one if number == 1 else many or one + 's'}"
