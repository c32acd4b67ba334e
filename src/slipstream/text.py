"""Texts that others have written, made safe to show."""

from __future__ import annotations


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
