"""C code as a plan sees it: which file includes which, and which calls what stands in another."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from pathlib import Path

_NOISE = re.compile(r'/\*.*?\*/|//[^\n]*|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\'', re.DOTALL)
_INCLUDE = re.compile(r'^\s*#\s*include\s+(?:"([^"]+)"|<([^>]+)>)', re.MULTILINE)
# A function's name and parameters at the start of a line, and the brace behind them.
_DEFINITION = re.compile(r"^[A-Za-z_][\w \t*]*?\b(\w+)\(([^;{}]*?)\)\s*\{", re.MULTILINE)
_NAME = re.compile(r"\bss_\w+")

Arrow = tuple[str, str, str]
"""From, to, and by what."""

INCLUDES, CALLS = "includes", "calls"


def includes(path: Path) -> list[tuple[str, bool]]:
    """What a file includes, and whether it stands in quotes."""
    found = _INCLUDE.findall(path.read_text(encoding="utf-8"))
    return [(quoted or angled, bool(quoted)) for quoted, angled in found]


def _body(code: str, brace: int) -> str:
    """The text from a brace to the one that closes it."""
    depth = 0
    for at in range(brace, len(code)):
        depth += {"{": 1, "}": -1}.get(code[at], 0)
        if depth == 0:
            return code[brace : at + 1]
    return code[brace:]


def functions(path: Path) -> Iterator[tuple[str, str, bool]]:
    """The functions that a file defines: name, body, and whether others can call them."""
    code = _NOISE.sub(" ", path.read_text(encoding="utf-8"))
    for found in _DEFINITION.finditer(code):
        head = code[found.start() : found.start(1)]
        own = path.suffix == ".c" and re.search(r"\bstatic\b", head) is not None
        yield found[1], _body(code, found.end() - 1), not own


def unit_of(path: Path, root: Path) -> str:
    """A source and its header are one unit, named without their ending."""
    return str(path.relative_to(root).with_suffix(""))


def arrows(files: Iterable[Path], root: Path) -> set[Arrow]:
    """Every include and every call from one unit to another.

    What a function's text names counts as called, also where its address is only kept.
    """
    files = list(files)
    home: dict[str, str] = {}
    for path in files:
        home |= {name: unit_of(path, root) for name, _, shared in functions(path) if shared}
    found: set[Arrow] = set()
    for path in files:
        unit = unit_of(path, root)
        for name, quoted in includes(path):
            if quoted:
                found.add((unit, name.rpartition(".")[0], f"{path.name} {INCLUDES} {name}"))
        for caller, body, _ in functions(path):
            for name in set(_NAME.findall(body)) & home.keys():
                found.add((unit, home[name], f"{caller} {CALLS} {name}"))
    return {arrow for arrow in found if arrow[0] != arrow[1]}


def circle(found: set[Arrow]) -> list[Arrow]:
    """A circle of arrows, if there is one; else nothing."""
    after: dict[str, list[Arrow]] = {}
    for arrow in sorted(found):
        after.setdefault(arrow[0], []).append(arrow)
    done: set[str] = set()

    def walk(unit: str, way: list[Arrow]) -> list[Arrow]:
        for arrow in after.get(unit, ()):
            on_the_way = [step[0] for step in way]
            if arrow[1] in [*on_the_way, unit]:
                way = [*way, arrow]
                return way[[step[0] for step in way].index(arrow[1]) :]
            if arrow[1] not in done and (round_trip := walk(arrow[1], [*way, arrow])):
                return round_trip
        done.add(unit)
        return []

    return next((way for unit in sorted(after) if unit not in done and (way := walk(unit, []))), [])
