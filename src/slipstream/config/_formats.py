"""Tells what a file is that was given as a config and is none."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from pathlib import Path

_ELF: Final = b"\x7fELF"
_TOML: Final = re.compile(r"""\[\[?[A-Za-z_][\w.-]*\]\]?\s*(#.*)?|[\w."'-]+\s*=.*""")
_YAML: Final = re.compile(r"""---.*|- .*|[\w."'-]+:(\s.*)?""")
_ASIDE: Final = re.compile(r"\s*(#.*|//.*)?")


def is_library(content: bytes) -> bool:
    """Say whether these are the bytes of a library or a program."""
    return content.startswith(_ELF)


def names_library(path: Path) -> bool:
    """Say whether a file is called as libraries are."""
    return path.suffix == ".so" or ".so." in path.name


def other_format(text: str) -> str | None:
    """Return what a text that is no JSON5 was written as: TOML or YAML; None: neither, it seems."""
    lines = (line for line in text.splitlines() if not _ASIDE.fullmatch(line))
    first = next(lines, "").strip()
    if _TOML.fullmatch(first):
        return "TOML"
    return "YAML" if _YAML.fullmatch(first) else None
