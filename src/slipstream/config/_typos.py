"""Tells a misspelt key of the host from a key of the plugin's own."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

_WORD: Final = re.compile(r"[A-Z]?[^\W_A-Z]+|[A-Z]+")
_SHORT: Final = 4
_OTHER_WORDS: Final = frozenset(
    {"upload", "flash", "black", "lead", "loan", "lord", "deal", "dear", "latter", "bites", "use"}
)
"""Ordinary words that are one slip away from a word of a host key."""


def is_spelling_of(key: str, known: str) -> bool:
    """Tells whether a key is a host key in another spelling, such as ``LibPath``.

    Args:
        key: The unknown key.
        known: The host key.

    Returns:
        True if they differ in upper and lower case, ``-`` or ``_`` only.
    """
    return "".join(_words(key)) == "".join(_words(known))


def is_slip_of(key: str, known: str) -> bool:
    """Tells whether a key looks like a host key with a slip of the finger in each word.

    A slip is one letter that is missing, doubled, wrong or swapped with its neighbour. People
    seldom get the first letter wrong, and ``lock_timeout`` is a word of its own. In a key of
    four letters only a swap and a missing letter count: ``mod`` is ``mode``, but ``model`` is
    not, and ``names`` is not ``name``.

    Args:
        key: The unknown key.
        known: The host key.

    Returns:
        True if it looks like one.
    """
    mine, theirs = _words(key), _words(known)
    if any(word in _OTHER_WORDS for word in mine):
        return False
    one, other = "".join(mine), "".join(theirs)
    if one[:1] != other[:1] and one[:2] != other[1::-1]:
        return False
    if len(other) <= _SHORT:
        swapped = sorted(one) == sorted(other)
        return (swapped or len(one) == len(other) - 1) and _one_slip(one, other)
    return _one_slip(one, other) or (
        len(mine) == len(theirs) > 1 and all(map(_one_slip, mine, theirs))
    )


def is_misspelt(key: str, known: str) -> bool:
    """Tells whether a word is a known one in another spelling, or with a slip of the finger.

    Args:
        key: The unknown word.
        known: The known one.

    Returns:
        True if it looks like it.
    """
    return is_spelling_of(key, known) or is_slip_of(key, known)


def closest(key: str, known: Iterable[str]) -> str | None:
    """Finds the word that a key was most likely meant to be.

    Args:
        key: The unknown key.
        known: The words that are allowed.

    Returns:
        The closest word, or None if none is near.
    """
    import difflib  # noqa: PLC0415 - only wrong keys need it

    found = difflib.get_close_matches(key, list(known), n=1)
    return found[0] if found else None


def _words(key: str) -> list[str]:
    return [word.casefold() for word in _WORD.findall(key)]


def _one_slip(one: str, other: str) -> bool:
    """One letter missing, added, changed, or two neighbours swapped; or none of it."""
    if len(one) > len(other):
        one, other = other, one
    same = 0
    while same < len(one) and one[same] == other[same]:
        same += 1
    rest, longer = one[same:], other[same:]
    if len(rest) < len(longer):
        return rest == longer[1:]
    return rest[1:] == longer[1:] or (rest[:2] == longer[1::-1] and rest[2:] == longer[2:])
