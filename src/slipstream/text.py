"""Texts that others have written: made safe to show, and read strictly."""

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
