"""The checks of a plugin in words: what each asks, which rule it follows, how to fix a finding.

A file for each section, a table for each check, in the order in which they run. An example is C,
unless its first line is a comment that names another language: ``# CMake``, ``// Rust``.
"""

from __future__ import annotations

import functools
import itertools
import re
import tomllib
from bisect import bisect_right
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any, Literal, TypeAlias

import slipstream

Level: TypeAlias = Literal["fail", "warn", "note"]

SECTIONS = (
    "binary",
    "entry",
    "table",
    "lifecycle",
    "subscriptions",
    "events",
    "errors",
    "threads",
    "unload",
    "resources",
    "hygiene",
    "hostile",
    "contract",
    "peers",
)

_COMMENT_MARKS = re.compile(r"^\s*\*(?=\s|$)|/\*|\*/")


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One check, as its author and the author of a plugin see it.

    Attributes:
        id: The section's name, a dot, and its own name.
        level: How much a finding weighs.
        quick: It is part of the quick suite.
        needs: Ids of the checks without whose pass it is skipped.
        title: What holds if it passes.
        rule: Excerpts of ``slipstream.h`` that state the rule; see `rule_line`.
        reason_of_rule: Where the rule comes from, if the header does not state it.
        why: What goes wrong when the rule is broken.
        mend: The usual causes, and how to fix them.
        example: A few lines that do it right.
    """

    id: str
    level: Level
    quick: bool = False
    needs: tuple[str, ...]
    title: str
    rule: tuple[str, ...]
    reason_of_rule: str = ""
    why: str
    mend: str
    example: str


def _one_line(text: str) -> str:
    return " ".join(text.split())


def _check(name: str, table: dict[str, Any]) -> Check:
    rule = [table["rule"]] if isinstance(table["rule"], str) else table["rule"]
    made = {
        "needs": tuple(table["needs"]),
        "rule": tuple(_one_line(excerpt) for excerpt in rule if excerpt),
        "example": table["example"].strip("\n"),
    }
    texts = {key: _one_line(table.get(key, "")) for key in ("reason_of_rule", "why", "mend")}
    return Check(**table | made | texts | {"id": name})


@functools.cache
def catalogue() -> dict[str, Check]:
    """Return all checks by their ids, in the order in which they run."""
    folder = resources.files(__name__)
    return {
        name: _check(name, table)
        for section in SECTIONS
        for name, table in tomllib.loads(
            folder.joinpath(f"{section}.toml").read_text(encoding="utf-8")
        ).items()
    }


@functools.cache
def _header() -> tuple[str, tuple[int, ...], tuple[int, ...]]:
    """Return the header's words in one line, where each begins there, and the line it stands in."""
    text = (Path(slipstream.get_include()) / "slipstream.h").read_text(encoding="utf-8")
    words = [
        (word, number)
        for number, line in enumerate(text.splitlines(), 1)
        for word in _COMMENT_MARKS.sub(" ", line).split()
    ]
    starts = itertools.accumulate((len(word) + 1 for word, _ in words[:-1]), initial=0)
    return " ".join(word for word, _ in words), tuple(starts), tuple(line for _, line in words)


def rule_line(text: str) -> int:
    """Return the line of ``slipstream.h`` in which an excerpt begins.

    Comment marks, line ends and further spaces of the header count as one space.

    Raises:
        ValueError: The header does not say this.
    """
    words, starts, lines = _header()
    at = words.find(text)
    if not text or at < 0:
        msg = f"slipstream.h does not say {text!r}"
        raise ValueError(msg)
    return lines[bisect_right(starts, at) - 1]
