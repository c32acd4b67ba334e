"""The plan of the house: which rooms there are, and which of them each may use.

python tools/house.py          writes docs/house.svg, the picture of both plans

`tests/test_house.py` holds the code against these tables, and the picture against them. Rooms stand
in an order in which each uses only rooms that stand above it in its table, never below.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from xml.sax.saxutils import escape

ROOT = Path(__file__).resolve().parents[1]
PICTURE = ROOT / "docs" / "house.svg"


@dataclass(frozen=True)
class Room:
    """A folder of native/, or a module or package of src/slipstream.

    Attributes:
        says: What it is for, in a few words.
        uses: The rooms that it may include or import.
    """

    says: str
    uses: tuple[str, ...] = ()


_GROUND = ("platform", "base")
_EVENTS = (*_GROUND, "frame")

NATIVE = {
    "platform": Room("what a system gives: waiting, memory"),
    "base": Room("locks, texts, clocks, log lines", ("platform",)),
    "frame": Room("the layout of events; gaps, dead letters", _GROUND),
    "ring": Room("one producer, one consumer", _EVENTS),
    "library": Room("a file and its table, before any of it serves", _GROUND),
    "peers": Room("what a plugin asks of the application", _GROUND),
    "plugin": Room("one instance, its host table, its steps", (*_EVENTS, "library", "peers")),
    "sequencer": Room("order; who gets what", (*_EVENTS, "ring", "library", "peers", "plugin")),
    "consumer": Room(
        "out of a ring into a plugin", (*_EVENTS, "ring", "library", "peers", "plugin")
    ),
    "process": Room(
        "workers and their supervisor",
        (*_EVENTS, "ring", "library", "peers", "plugin", "consumer"),
    ),
    "check": Room(
        "a plugin, tried in every way",
        (*_EVENTS, "ring", "library", "peers", "plugin", "process"),
    ),
    "python": Room("where Python comes in", (*_EVENTS, "peers", "plugin", "sequencer")),
}

_SENDING = ("errors", "_native", "events", "frames")
_WORKING = (*_SENDING, "peers", "capture", "status", "config", "library", "logs")
_HOSTING = (*_WORKING, "delivery", "loaded", "manager")

PYTHON = {
    "errors": Room("what can go wrong"),
    "text": Room("texts, safe to show; counts"),
    "tables": Room("rows, for notebooks"),
    "extras": Room("libraries that only some need", ("errors",)),
    "_native": Room("the one door to the core", ("errors",)),
    "_platform": Room("what differs between systems", ("_native",)),
    "files": Room("small files, read safely", ("_platform",)),
    "events": Room("events as dataclasses", ("errors", "_native")),
    "peers": Room("what an application with peers offers", ("errors", "_native")),
    "frames": Room("events as bytes", ("errors", "_native", "events")),
    "capture": Room("files of frames", (*_SENDING, "text", "_platform")),
    "status": Room("states and counters, in words", ("_native",)),
    "config": Room("what a config file says", ("errors", "text", "_platform", "files")),
    "library": Room(
        "may it be loaded; what it says; its copy",
        ("errors", "text", "_platform", "files", "_native", "config"),
    ),
    "logs": Room("lines from the core, for logging", ("errors", "text", "_native", "_platform")),
    "aleo": Room("Aleo text and bytes: a leaf", ("errors", "text", "events")),
    "streams": Room(
        "files of events in every form", (*_SENDING, "text", "files", "capture", "aleo")
    ),
    "delivery": Room("how events reach a plugin", (*_WORKING, "text", "_platform", "files")),
    "loaded": Room("the loaded plugins", (*_WORKING, "delivery", "tables")),
    "manager": Room("PluginManager", (*_WORKING, "delivery", "loaded", "tables")),
    "__init__": Room("the names of the package", _HOSTING),
    "check": Room(
        "what a machine, a library are like",
        (*_HOSTING, "text", "_platform", "files", "streams", "__init__"),
    ),
    "packages": Room(
        "archives, keys, where they come from",
        ("errors", "text", "_platform", "extras", "files", "config", "library"),
    ),
    "server": Room(
        "a manager over HTTP; the daemon",  # knows no C
        (
            *(room for room in _HOSTING if room != "_native"),
            *("text", "_platform", "extras", "files", "streams", "check", "packages"),
            "__init__",
        ),
    ),
    "testing": Room(
        "what plugin authors test with", (*_HOSTING, "text", "_platform", "check", "__init__")
    ),
    "cli": Room(
        "the commands",
        (
            *(*_HOSTING, "text", "_platform", "extras", "files", "aleo", "streams", "check"),
            *("packages", "server", "__init__"),
        ),
    ),
    "__main__": Room("python -m slipstream", ("cli",)),
}


def floors(rooms: dict[str, Room]) -> list[list[str]]:
    """Return the rooms by floors, the ground first: each stands right above what it uses."""
    level: dict[str, int] = {}
    for name, room in rooms.items():
        level[name] = 1 + max((level[below] for below in room.uses), default=-1)
    return [[name for name in rooms if level[name] == n] for n in range(max(level.values()) + 1)]


def stairs(rooms: dict[str, Room]) -> list[tuple[str, str]]:
    """Return the arrows that are worth drawing: not those that a longer way implies."""
    under: dict[str, set[str]] = {}
    for name, room in rooms.items():
        under[name] = {*room.uses, *(far for below in room.uses for far in under[below])}
    return [
        (name, below)
        for name, room in rooms.items()
        for below in room.uses
        if not any(below in under[other] for other in room.uses)
    ]


_WIDTH, _HEIGHT, _GAP, _RISE = 236, 44, 14, 34
_STYLE = """
  text { font: 13px sans-serif; fill: #1b1f24; } .small { font-size: 10.5px; fill: #57606a; }
  .title { font-size: 16px; font-weight: bold; } .room { fill: #f6f8fa; stroke: #57606a; }
  .stair { stroke: #8c959f; fill: none; }
"""


def _tower(title: str, rooms: dict[str, Room], left: int) -> tuple[list[str], int, int]:
    """Draw a plan; return its elements, its width and its height."""
    plan = floors(rooms)
    wide = max(map(len, plan))
    width = wide * (_WIDTH + _GAP) - _GAP
    height = 40 + len(plan) * (_HEIGHT + _RISE)
    place: dict[str, tuple[int, int]] = {}
    for number, floor in enumerate(plan):
        start = left + (width - len(floor) * (_WIDTH + _GAP) + _GAP) // 2
        for index, name in enumerate(floor):
            y = height - (number + 1) * (_HEIGHT + _RISE) + _RISE + 10
            place[name] = (start + index * (_WIDTH + _GAP), y)
    shapes = [f'<text class="title" x="{left}" y="20">{escape(title)}</text>']
    for name, below in stairs(rooms):
        (x, y), (to_x, to_y) = place[name], place[below]
        ends = f'x1="{x + _WIDTH // 2}" y1="{y + _HEIGHT}" x2="{to_x + _WIDTH // 2}" y2="{to_y}"'
        shapes.append(f'<line class="stair" {ends}/>')
    for name, (x, y) in place.items():
        box = f'x="{x}" y="{y}" width="{_WIDTH}" height="{_HEIGHT}" rx="4"'
        shapes += [
            f'<rect class="room" {box}/>',
            f'<text x="{x + 8}" y="{y + 18}">{escape(name)}</text>',
            f'<text class="small" x="{x + 8}" y="{y + 34}">{escape(rooms[name].says)}</text>',
        ]
    return shapes, width, height


def picture() -> str:
    """Return both plans as SVG."""
    above, width, height = _tower("src/slipstream: imports go down only", PYTHON, 10)
    below, width_2, height_2 = _tower("native: includes and calls go down only", NATIVE, 10)
    whole, tall = max(width, width_2) + 20, height + height_2 + 40
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {whole} {tall}">',
            f"<style>{_STYLE}</style>",
            '<rect width="100%" height="100%" fill="white"/>',
            *above,
            f'<g transform="translate(0 {height + 30})">',
            *below,
            "</g>",
            "</svg>",
            "",
        ]
    )


if __name__ == "__main__":
    PICTURE.write_text(picture(), encoding="utf-8")
