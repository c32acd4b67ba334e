"""Draw the pictures of the docs: docs/pictures/*.svg.

python tools/pictures.py

Each is as wide as a phone's screen, follows the reader's light or dark colours, and is drawn on a
ground of its own, so that it can be read on any page. Text that does not fit into its box, and
boxes that overlap, are refused. `tests/test_reference.py` holds the files against this one.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from xml.sax.saxutils import escape

FOLDER = Path(__file__).resolve().parents[1] / "docs" / "pictures"
_WIDTH = 440
_CHARACTER = 0.58  # of the font's size: the widest usual sans-serif font

_COLOURS = {
    # name: light, dark
    "ground": ("#fbfcfd", "#14202a"),
    "edge": ("#d5dde3", "#2c3e4a"),
    "ink": ("#17242d", "#e6edf2"),
    "faint": ("#55656f", "#9fb2bf"),
    "host": ("#e2eef9", "#17334d"),
    "host-edge": ("#3f7fb8", "#6fb1ea"),
    "plugin": ("#fdebd8", "#4a3015"),
    "plugin-edge": ("#c2700f", "#f0a650"),
    "ring": ("#dcf2ec", "#123f38"),
    "ring-edge": ("#1b8371", "#52c7b1"),
    "bad": ("#fbe1e1", "#52201f"),
    "bad-edge": ("#c23a35", "#ff8a80"),
    "rest": ("#eef1f4", "#22313c"),
    "rest-edge": ("#7d8d98", "#7f94a2"),
}
_KINDS = ("host", "plugin", "ring", "bad", "rest")


def _style() -> str:
    light = " ".join(f"--{name}: {colour};" for name, (colour, _) in _COLOURS.items())
    dark = " ".join(f"--{name}: {colour};" for name, (_, colour) in _COLOURS.items())
    kinds = "\n".join(
        f"  .{kind} {{ fill: var(--{kind}); stroke: var(--{kind}-edge); }}"
        f" .arrow-{kind} {{ stroke: var(--{kind}-edge); }}"
        f" .head-{kind} {{ fill: var(--{kind}-edge); }}"
        for kind in _KINDS
    )
    return f"""
  svg {{ {light} }}
  @media (prefers-color-scheme: dark) {{ svg {{ {dark} }} }}
  text {{ font-family: system-ui, "Segoe UI", Roboto, "Noto Sans", "DejaVu Sans", sans-serif;
         fill: var(--ink); }}
  .faint {{ fill: var(--faint); }} .bold {{ font-weight: 600; }}
  .middle {{ text-anchor: middle; }} .end {{ text-anchor: end; }}
  .ground {{ fill: var(--ground); stroke: var(--edge); }}
  rect {{ stroke-width: 1.5; }} .arrow {{ stroke-width: 1.8; fill: none; }}
  .dashed {{ stroke-dasharray: 5 4; }}
{kinds}
"""


@dataclass(frozen=True)
class Box:
    """A box on a picture, by its left upper corner and its size."""

    x: float
    y: float
    width: float
    height: float

    @property
    def middle(self) -> tuple[float, float]:
        """Return its middle."""
        return self.x + self.width / 2, self.y + self.height / 2

    @property
    def left(self) -> tuple[float, float]:
        """Return the middle of its left side."""
        return self.x, self.y + self.height / 2

    @property
    def right(self) -> tuple[float, float]:
        """Return the middle of its right side."""
        return self.x + self.width, self.y + self.height / 2

    @property
    def top(self) -> tuple[float, float]:
        """Return the middle of its upper side."""
        return self.x + self.width / 2, self.y

    @property
    def bottom(self) -> tuple[float, float]:
        """Return the middle of its lower side."""
        return self.x + self.width / 2, self.y + self.height

    def meets(self, other: Box) -> bool:
        """Whether the two overlap."""
        return (
            self.x < other.x + other.width
            and other.x < self.x + self.width
            and self.y < other.y + other.height
            and other.y < self.y + self.height
        )


@dataclass
class Picture:
    """A picture that grows.

    Attributes:
        says: What it shows, for those who do not see it.
        height: Of the whole.
    """

    says: str
    height: int
    _parts: list[str] = field(default_factory=list)
    _boxes: list[Box] = field(default_factory=list)

    def text(  # noqa: PLR0913 - a text has a place and a look
        self, x: float, y: float, text: str, look: str = "", size: float = 13, room: float = 0
    ) -> None:
        """Write a line; `room` is the width that it may take."""
        wide = len(text) * size * _CHARACTER
        free = room or {"middle": 2 * min(x, _WIDTH - x), "end": x}.get(
            next((word for word in look.split() if word in {"middle", "end"}), ""), _WIDTH - x
        )
        if wide > free:
            message = f"{text!r} needs {wide:.0f}, and there are {free:.0f}"
            raise ValueError(message)
        self._parts.append(
            f'<text x="{x:g}" y="{y:g}" class="{look}" font-size="{size:g}">{escape(text)}</text>'
        )

    def box(self, box: Box, kind: str, *lines: str, size: float = 13) -> Box:
        """Draw a box with lines of text in its middle, the first in bold."""
        for other in self._boxes:
            if box.meets(other):
                message = f"{lines} overlaps another box: {other}"
                raise ValueError(message)
        self._boxes.append(box)
        self._rect(box, kind)
        x, y = box.middle
        high = size + 4
        for at, line in enumerate(lines):
            look = "middle bold" if at == 0 else "middle faint"
            small = size if at == 0 else size - 1.5
            place = y + size * 0.36 + (at - (len(lines) - 1) / 2) * high
            self.text(x, place, line, look, small, room=box.width - 6)
        return box

    def frame(self, box: Box, kind: str, title: str) -> Box:
        """Draw what holds boxes: a process."""
        self._rect(box, f"{kind} dashed")
        self.text(box.x + 10, box.y + 17, title, "faint", 11.5, room=box.width - 12)
        return box

    def _rect(self, box: Box, look: str) -> None:
        self._parts.append(
            f'<rect x="{box.x:g}" y="{box.y:g}" width="{box.width:g}" height="{box.height:g}" '
            f'rx="7" class="{look}"/>'
        )

    def arrow(self, *points: tuple[float, float], kind: str = "rest", look: str = "") -> None:
        """Draw an arrow along points, its head at the last."""
        (x0, y0), (x, y) = points[-2:]
        long = ((x - x0) ** 2 + (y - y0) ** 2) ** 0.5
        dx, dy = (x - x0) / long, (y - y0) / long
        back = (x - 7 * dx, y - 7 * dy)
        line = " ".join(f"{a:g},{b:g}" for a, b in [*points[:-1], back])
        self._parts.append(f'<polyline points="{line}" class="arrow arrow-{kind} {look}"/>')
        sides = [(back[0] + s * 4.2 * dy, back[1] - s * 4.2 * dx) for s in (1, -1)]
        head = " ".join(f"{a:.4g},{b:.4g}" for a, b in [(x, y), *sides])
        self._parts.append(f'<polygon points="{head}" class="head-{kind}"/>')

    def line(self, *points: tuple[float, float], kind: str = "rest", look: str = "") -> None:
        """Draw a line without a head."""
        line = " ".join(f"{a:g},{b:g}" for a, b in points)
        self._parts.append(f'<polyline points="{line}" class="arrow arrow-{kind} {look}"/>')

    def svg(self) -> str:
        """Return the picture."""
        whole = f'width="{_WIDTH}" height="{self.height}" viewBox="0 0 {_WIDTH} {self.height}"'
        inner = f'width="{_WIDTH - 1.5}" height="{self.height - 1.5}" rx="12"'
        says = f'role="img" aria-label="{escape(self.says)}"'
        return "\n".join(
            [
                f'<svg xmlns="http://www.w3.org/2000/svg" {whole} {says}>',
                f"<style>{_style()}</style>",
                f'<rect x="0.75" y="0.75" {inner} class="ground"/>',
                *self._parts,
                "</svg>",
                "",
            ]
        )


def modes() -> Picture:
    """Three ways in which one plugin runs."""
    it = Picture(
        "Modes: inline on the broadcasting thread; thread behind a ring; process apart", 476
    )

    it.text(18, 30, "inline", "bold", 16)
    it.text(78, 30, "the plugin is called before broadcast returns", "faint", 12)
    it.frame(Box(18, 42, 404, 88), "host", "one process, one thread")
    send = it.box(Box(32, 70, 120, 46), "host", "your host", "broadcast")
    plugin = it.box(Box(288, 70, 120, 46), "plugin", "plugin", "on_broadcast")
    it.arrow((send.right[0], 86), (plugin.left[0], 86), kind="host")
    it.arrow((plugin.left[0], 102), (send.right[0], 102), kind="plugin")
    it.text(220, 80, "call", "middle faint", 11.5)
    it.text(220, 118, "status", "middle faint", 11.5)

    it.text(18, 168, "thread", "bold", 16)
    it.text(84, 168, "a slow plugin delays nobody", "faint", 12)
    it.frame(Box(18, 180, 404, 88), "host", "one process, a thread for each plugin")
    send = it.box(Box(32, 208, 104, 46), "host", "your host", "broadcast")
    ring = it.box(Box(178, 208, 84, 46), "ring", "ring", "in memory")
    plugin = it.box(Box(304, 208, 104, 46), "plugin", "plugin", "on_broadcast")
    it.arrow(send.right, ring.left, kind="host")
    it.arrow(ring.right, plugin.left, kind="plugin")

    it.text(18, 306, "process", "bold", 16)
    it.text(92, 306, "a crash or a hang ends the worker alone", "faint", 12)
    it.frame(Box(18, 318, 134, 98), "host", "host")
    it.frame(Box(288, 318, 134, 98), "plugin", "worker")
    send = it.box(Box(28, 348, 114, 50), "host", "your host", "broadcast")
    ring = it.box(Box(178, 348, 84, 50), "ring", "ring", "shared")
    plugin = it.box(Box(298, 348, 114, 50), "plugin", "plugin", "on_broadcast")
    it.arrow(send.right, ring.left, kind="host")
    it.arrow(ring.right, plugin.left, kind="plugin")
    it.arrow((355, 416), (355, 438), (85, 438), (85, 416), kind="bad", look="dashed")
    it.text(220, 458, "after a crash: started again, events delivered again", "middle faint", 12)
    return it


def ring() -> Picture:
    """A ring: what is in it, and what an acknowledgement does."""
    it = Picture(
        "A ring: events stay in it until they are acknowledged; a crash repeats the rest", 470
    )
    it.text(18, 30, "An event stays in the ring until it is acknowledged", "bold", 14)
    it.text(18, 52, "The host writes at the end; the plugin reads in order.", "faint", 12)

    slots = [Box(20 + n * 40.2, 108, 36, 40) for n in range(10)]
    kinds = ["rest"] * 3 + ["plugin"] * 3 + ["ring"] * 2 + ["rest"] * 2
    for number, (slot, kind) in enumerate(zip(slots, kinds, strict=True), 1):
        it.box(slot, kind, "" if number > 8 else str(number))
    it.arrow((slots[8].top[0], 72), slots[8].top, kind="host")
    it.text(slots[8].top[0] - 8, 86, "broadcast writes event 9 here", "end faint", 12)

    it.line((20, 160), (136.6, 160), kind="rest")
    it.line((140.6, 160), (257, 160), kind="plugin")
    it.line((261, 160), (337.6, 160), kind="ring")
    it.text(78, 178, "acknowledged:", "middle", 11.5)
    it.text(78, 193, "room for others", "middle faint", 11.5)
    it.text(199, 178, "in the plugin's", "middle", 11.5)
    it.text(199, 193, "hands", "middle faint", 11.5)
    it.text(299, 178, "waiting", "middle", 11.5)

    plugin = it.box(Box(140, 222, 118, 46), "plugin", "plugin", "has 4, 5 and 6")
    it.arrow((199, 200), plugin.top, kind="plugin")
    it.arrow(plugin.left, (78, 245), (78, 202), kind="rest", look="dashed")
    it.text(72, 264, "ack(6) frees", "middle faint", 11.5)
    it.text(72, 279, "4, 5 and 6", "middle faint", 11.5)

    it.text(18, 322, "The plugin crashes before it acknowledges", "bold", 14)
    it.text(18, 344, "The same events come again, in order, marked as repeated.", "faint", 12)
    again = [Box(20 + n * 40.2, 362, 36, 40) for n in range(10)]
    kinds = ["rest"] * 3 + ["bad"] * 3 + ["ring"] * 3 + ["rest"]
    for number, (slot, kind) in enumerate(zip(again, kinds, strict=True), 1):
        it.box(slot, kind, "" if number > 9 else str(number))
    it.line((140.6, 414), (257, 414), kind="bad")
    it.text(199, 432, "again: attempt 2", "middle", 11.5)
    it.line((261, 414), (377.8, 414), kind="ring")
    it.text(319, 432, "still waiting", "middle", 11.5)
    it.text(220, 456, "A full ring? The config key overflow decides.", "middle faint", 12)
    return it


def states() -> Picture:
    """The states of a plugin, and what leads from one to another."""
    it = Picture(
        "States: loading, running, stalled, paused, backoff, quarantined, failed, unloaded", 520
    )
    it.text(18, 30, "The states of a plugin", "bold", 14)
    loading = it.box(Box(165, 48, 110, 40), "host", "loading")
    running = it.box(Box(160, 200, 120, 56), "ring", "running", "events flow")
    it.box(Box(16, 130, 100, 46), "rest", "stalled", "ring full")
    it.box(Box(16, 280, 100, 46), "rest", "paused", "events wait")
    it.box(Box(324, 130, 100, 46), "plugin", "backoff", "a short pause")
    it.box(Box(324, 280, 100, 46), "bad", "quarantined", "until resume", size=12.5)
    failed = it.box(Box(324, 376, 100, 46), "bad", "failed", "see reason")
    unloading = it.box(Box(165, 376, 110, 46), "host", "unloading", "flush, close")
    unloaded = it.box(Box(165, 462, 110, 40), "rest", "unloaded")

    it.arrow(loading.bottom, running.top, kind="ring")
    it.text(228, 140, "on_load", "faint", 11.5)
    it.text(228, 155, "returned OK", "faint", 11.5)

    it.arrow((160, 212), (66, 212), (66, 176), kind="rest")
    it.arrow((116, 153), (190, 153), (190, 200), kind="ring")
    it.text(72, 206, "block_timeout", "faint", 11.5, room=90)
    it.text(122, 146, "half empty", "faint", 11.5, room=70)

    it.arrow((160, 244), (66, 244), (66, 280), kind="rest")
    it.arrow((116, 303), (190, 303), (190, 256), kind="ring")
    it.text(108, 238, "pause", "faint", 11.5)
    it.text(134, 318, "resume", "faint", 11.5)

    it.arrow((280, 212), (346, 212), (346, 176), kind="bad")
    it.arrow((324, 165), (300, 165), (300, 185), (262, 185), (262, 200), kind="ring")
    it.text(286, 206, "crash", "faint", 11.5)
    it.text(373, 222, "too many", "faint", 11.5, room=66)
    it.text(373, 237, "crashes", "faint", 11.5, room=66)
    it.arrow((366, 176), (366, 280), kind="bad")
    it.arrow((324, 303), (302, 303), (302, 242), (280, 242), kind="ring")
    it.text(308, 262, "resume", "faint", 11.5)

    it.arrow((262, 256), (262, 350), (374, 350), (374, 376), kind="bad")
    it.text(270, 344, "FATAL, or stuck", "faint", 11.5, room=110)
    it.arrow(running.bottom, unloading.top, kind="host")
    it.text(214, 360, "unload", "end faint", 11.5)
    it.arrow(failed.left, unloading.right, kind="host")
    it.arrow(unloading.bottom, unloaded.top, kind="rest")
    return it


def crash() -> Picture:
    """A crash in time: what host and workers do, one below the other."""
    it = Picture(
        "A crash in time: the worker falls, the host reports it, a new worker goes on", 560
    )
    it.text(18, 30, "A crash, step by step (time goes down)", "bold", 14)
    host, first, second = 88, 232, 366
    it.box(Box(host - 62, 46, 124, 34), "host", "host")
    it.box(Box(first - 62, 46, 124, 34), "plugin", "worker 1")
    it.box(Box(second - 62, 46, 124, 34), "plugin", "worker 2")
    it.line((host, 80), (host, 488), kind="host", look="dashed")
    it.line((first, 80), (first, 196), kind="plugin", look="dashed")
    it.line((second, 318), (second, 488), kind="plugin", look="dashed")

    def step(y: float, to: float, text: str, kind: str, *, back: bool = False) -> None:
        ends = ((to, y), (host, y)) if back else ((host, y), (to, y))
        it.arrow(*ends, kind=kind)
        it.text((host + to) / 2, y - 7, text, "middle", 11.5, room=abs(to - host) - 6)

    step(112, first, "event 7", "host")
    step(138, first, "ack 7", "plugin", back=True)
    step(164, first, "event 8", "host")
    it.box(Box(first - 62, 196, 124, 44), "bad", "crash", "in event 8")
    step(262, first, "it has died", "bad", back=True)
    it.text(host + 12, 286, "crash report: function and line", "faint", 12)
    it.text(host + 12, 304, "pause of initial_delay: 0.1 s", "faint", 12)
    it.box(Box(second - 62, 318, 124, 34), "ring", "on_load")
    it.arrow((host, 335), (second - 62, 335), kind="host")
    it.text(190, 328, "start it again", "middle", 11.5)
    step(388, second, "event 8 again, attempt 2", "host")
    step(416, second, "ack 8", "plugin", back=True)
    step(444, second, "events 9 to 12, which waited in the ring", "host")
    step(472, second, "ack 12", "plugin", back=True)
    it.text(220, 516, "Nothing is lost. The host never stopped.", "middle bold", 13)
    it.text(220, 536, "After three crashes in event 8 it is a dead letter.", "middle faint", 12)
    return it


PICTURES = {"modes": modes, "ring": ring, "states": states, "crash": crash}


def pages() -> dict[str, str]:
    """Return the pictures, by their paths in docs/."""
    return {f"pictures/{name}.svg": draw().svg() for name, draw in PICTURES.items()}


if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    for name, text in pages().items():
        (FOLDER.parent / name).write_text(text, encoding="utf-8")
