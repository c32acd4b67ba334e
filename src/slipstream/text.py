"""Texts that others have written, made safe to show; numbers with what they count."""

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


def counted(number: int, one: str, many: str = "") -> str:
    """Return a number and what is counted, in the form that goes with it.

    Args:
        number: How many.
        one: What is said after 1, such as "event" or "event was".
        many: What is said after any other number; by default `one` with an s.
    """
    return f"{number:,} {one if number == 1 else many or one + 's'}"
