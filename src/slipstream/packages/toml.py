"""TOML with the places of its keys, which the standard library's reader does not tell."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

from slipstream.config import Document
from slipstream.errors import InvalidConfigFileFormat
from slipstream.text import printable

_HEADER = re.compile(r"^[ \t]*\[{1,2}([^\]\n]+)\]{1,2}", re.MULTILINE)
_KEY = re.compile(
    r"^[ \t]*((?:[A-Za-z0-9_-]+|\"[^\"\n]*\")(?:[ \t]*\.[ \t]*[\w-]+)*)[ \t]*=[ \t]*", re.MULTILINE
)
_NAME = re.compile(r"\"([^\"]*)\"|'([^']*)'|([A-Za-z0-9_-]+)")

Path_ = tuple[str | int, ...]
_AT = re.compile(r"\(at line (\d+), column (\d+)\)")


def read_toml(text: str, source: Path) -> Document:
    """Read TOML.

    Args:
        text: The text.
        source: The file, as errors shall name it.

    Raises:
        InvalidConfigFileFormat: It is none, or holds what JSON cannot.
    """
    try:
        values = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        said = str(error)
        at = _AT.search(said)
        place = f":{at[1]}:{at[2]}" if at else ""
        raise InvalidConfigFileFormat(
            f"{printable(str(source))}{place}: it is not TOML: {_AT.sub('', said).strip()}",
            "fix it there",
        ) from None
    return Document(source, text=text, values=values, places=_places(text))


def _places(text: str) -> dict[Path_, tuple[int | None, int | None]]:
    """Find keys and tables by their lines; what is written in another way has no place."""
    found: dict[Path_, tuple[int | None, int | None]] = {}
    within: Path_ = ()
    counts: dict[Path_, int] = {}
    marks = sorted([*_HEADER.finditer(text), *_KEY.finditer(text)], key=lambda match: match.start())
    for match in marks:
        names = tuple("".join(parts) for parts in _NAME.findall(match[1]))
        at = match.start(1)
        if match.re is _KEY:
            found.setdefault((*within, *names), (at, match.end()))
            continue
        within = ()
        for name in names:  # a table of an array is the last one that was begun
            within = (*within, name)
            if within in counts:
                within = (*within, counts[within])
        if match[0].lstrip().startswith("[["):
            base = within[:-1] if isinstance(within[-1], int) else within
            counts[base] = counts.get(base, -1) + 1
            within = (*base, counts[base])
            found.setdefault(base, (at, at))
        found.setdefault(within, (at, at))
    return found
