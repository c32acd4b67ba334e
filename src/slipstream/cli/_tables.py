"""Tables that fit their reader's screen: what is too wide for one becomes a block for each row."""

from __future__ import annotations

import itertools
import os
import sys
import textwrap
import unicodedata
from collections.abc import Iterable, Iterator, Sequence

import click

from ._output import emit

_PIPE_WIDTH = 160
_LAST = 24  # columns that the last cell of a row has at least, where it is wrapped
_GAP = 2

Cell = str | tuple[str, str]
"""A text of one or more lines; or such a text and its colour."""


def screen_width() -> int:
    """Return how many columns there are: of the terminal, or as COLUMNS says."""
    given = os.environ.get("COLUMNS", "")
    if given.isascii() and given.isdecimal() and int(given):
        return max(20, int(given))
    try:
        return max(20, os.get_terminal_size(sys.stdout.fileno()).columns)
    except (OSError, ValueError):
        return _PIPE_WIDTH


def show_table(
    heads: Sequence[str],
    rows: Iterable[Sequence[Cell]],
    *,
    title: str = "",
    numbers: Iterable[str] = (),
    dull: Iterable[str] = (),
) -> None:
    """Write a table to standard output.

    Args:
        heads: Of the columns; of a table without heads, empty texts.
        rows: Their cells.
        title: Stands above it.
        numbers: The heads of columns that are aligned to the right.
        dull: The heads of columns that are left out where there is no room, and nothing in them.
    """
    given = [[cell if isinstance(cell, tuple) else (cell, "") for cell in row] for row in rows]
    width = screen_width() - _GAP
    if sum(_wide(heads, given)) + _GAP * (len(heads) - 1) > width:
        said = [name not in dull or any(row[at][0] not in {"", "-", "0"} for row in given)
                for at, name in enumerate(heads)]  # fmt: skip
        heads = list(itertools.compress(heads, said))
        given = [list(itertools.compress(row, said)) for row in given]
    right = {at for at, name in enumerate(heads) if name in set(numbers)}
    lines = [title, ""] if title else []
    lines += _lines(heads, given, right, width)
    emit("".join(f"{line.rstrip()}\n" for line in [*lines, ""]))


def wrap(text: str, width: int) -> list[str]:
    """Return the lines of a text, wrapped; a word that is too long is broken."""
    found = []
    for line in text.splitlines() or [""]:
        found += textwrap.wrap(
            line, max(1, width), break_on_hyphens=False, subsequent_indent=_indent(line, width)
        ) or [""]
    return found


def _indent(line: str, width: int) -> str:
    """Lines that were indented stay so when they are wrapped."""
    return " " * min(len(line) - len(line.lstrip()), width // 2)


def _wide(heads: Sequence[str], rows: list[list[tuple[str, str]]]) -> list[int]:
    """Return how wide each column is."""
    return [
        max([cells(head), *(cells(line) for row in rows for line in row[at][0].splitlines())])
        for at, head in enumerate(heads)
    ]


def _lines(
    heads: Sequence[str], rows: list[list[tuple[str, str]]], right: set[int], width: int
) -> Iterator[str]:
    wide = _wide(heads, rows)
    before = sum(wide[:-1]) + _GAP * (len(wide) - 1)
    left = width - before
    if left >= min(wide[-1], _LAST):
        wide[-1] = min(wide[-1], left)
        return _as_table(heads, rows, right, wide)
    return _as_blocks(heads, rows, width)


def _as_table(
    heads: Sequence[str], rows: list[list[tuple[str, str]]], right: set[int], wide: list[int]
) -> Iterator[str]:
    margin = " " * _GAP
    if any(heads):
        yield margin + margin.join(
            _padded(head, wide[at], to_right=at in right) for at, head in enumerate(heads)
        )
        yield margin + "─" * (sum(wide) + _GAP * (len(wide) - 1))
    for row in rows:
        parts = [text.splitlines() or [""] for text, _ in row[:-1]] + [wrap(row[-1][0], wide[-1])]
        for number in range(max(map(len, parts))):
            texts = [part[number] if number < len(part) else "" for part in parts]
            yield margin + margin.join(
                _padded(text, wide[at], to_right=at in right, colour=row[at][1])
                for at, text in enumerate(texts)
            )


def _as_blocks(
    heads: Sequence[str], rows: list[list[tuple[str, str]]], width: int
) -> Iterator[str]:
    """Each row: its first cell, and below it the others, each with its head."""
    margin = " " * _GAP
    wide = max(map(cells, heads[1:]))
    for at, row in enumerate(rows):
        if at:
            yield ""
        for line in wrap(row[0][0], width):
            yield margin + _coloured(line, row[0][1] or "bold")
        for head, (text, colour) in zip(heads[1:], row[1:], strict=True):
            name = _padded(head, wide)
            for line in wrap(text, width - wide - 2 * _GAP):
                yield f"{margin * 2}{name}{margin}{_coloured(line, colour)}"
                name = " " * wide


def _coloured(text: str, colour: str) -> str:
    if not colour:
        return text
    return click.style(text, bold=True) if colour == "bold" else click.style(text, fg=colour)


def _padded(text: str, wide: int, *, to_right: bool = False, colour: str = "") -> str:
    blanks, shown = " " * (wide - cells(text)), _coloured(text, colour)
    return blanks + shown if to_right else shown + blanks


def cells(text: str) -> int:
    """Return how many columns a text takes on a terminal."""
    if text.isascii():
        return len(text)
    return sum(
        0 if unicodedata.combining(one) else 1 + (unicodedata.east_asian_width(one) in "WF")
        for one in text
    )


def cut(text: str, width: int) -> str:
    """Return a text with its middle left out, if it is wider than that."""
    if cells(text) <= width:
        return text
    return f"{_begin(text, width // 2)}…{_begin(text[::-1], width - width // 2 - 1)[::-1]}"


def cut_end(text: str, width: int) -> str:
    """Return a text with its end left out, if it is wider than that."""
    return text if cells(text) <= width else f"{_begin(text, width - 1)}…"


def _begin(text: str, width: int) -> str:
    text = text[: max(0, width)]  # no character that is shown is narrower than a column
    while cells(text) > width:
        text = text[:-1]
    return text
