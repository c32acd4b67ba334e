"""Filters pictures with a native plugin: python examples/host-image/host.py FILTER [PICTURE ...].

FILTER is edges, blur or sepia. The result lies beside each picture, as NAME.FILTER.png; without a
picture one is drawn. Needs numpy and pillow: pip install 'slipstream[image]'.
"""

from __future__ import annotations

import struct
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from slipstream import AppEvent, PluginManager

HERE = Path(__file__).resolve().parent
PICTURE = 32  # a kind of this application's own; filter.c has the same
HEAD = struct.Struct("<4I")  # number, width, height, 0
FLUSH = 60.0


def read(path: Path, number: int) -> np.ndarray:
    """A picture as one buffer: the head, then its pixels."""
    with Image.open(path) as image:
        width, height = image.size
        buffer = np.empty(HEAD.size + 3 * width * height, np.uint8)
        HEAD.pack_into(buffer, 0, number, width, height, 0)
        buffer[HEAD.size :].reshape(height, width, 3)[:] = np.asarray(image.convert("RGB"))
    return buffer


def filtered(filter_name: str, paths: Iterable[Path]) -> Iterator[np.ndarray]:
    """The filtered pictures, one for each path, as arrays of height, width and colour."""
    with (
        tempfile.TemporaryDirectory() as folder,
        # In a process of its own: whatever the plugin does with a picture, the host lives.
        PluginManager("process", data_dir=folder) as manager,
    ):
        plugin = manager.load_plugin(
            {"libpath": str(HERE / "filter.so"), "filter": filter_name, "ring_bytes": "256MiB"}
        )
        shapes = []
        for number, path in enumerate(paths):
            buffer = read(path, number)
            _, width, height, _ = HEAD.unpack_from(buffer)
            shapes.append((height, width, 3))
            manager.broadcast(AppEvent(PICTURE, buffer.data))  # copied once, into the frame
        manager.flush(FLUSH)  # what is acknowledged is in the plugin's data folder
        if plugin.counters.dead:
            raise SystemExit(f"{plugin.counters.dead} pictures were refused: see the log")
        for number, shape in enumerate(shapes):
            pixels = np.fromfile(Path(folder) / plugin.name / f"{number}.rgb", np.uint8)
            yield pixels.reshape(shape)


def draw(path: Path) -> None:
    """Something to filter: a sun over a green hill."""
    image = Image.new("RGB", (320, 200))
    pen = ImageDraw.Draw(image)
    for y in range(200):
        pen.line((0, y, 319, y), (90 + y // 2, 150 + y // 3, 255 - y // 4))
    pen.ellipse((210, 25, 270, 85), (255, 214, 64))
    pen.ellipse((-80, 110, 240, 330), (52, 140, 60))
    pen.ellipse((120, 135, 420, 330), (36, 108, 52))
    pen.polygon([(60, 120), (90, 80), (120, 120)], (150, 52, 40))
    pen.rectangle((68, 120, 112, 150), (222, 200, 160))
    image.save(path, optimize=True)


def main(filter_name: str, *names: str) -> None:
    """Filter pictures and say how long it took."""
    paths = [Path(name) for name in names]
    if not paths:
        paths = [HERE / "before.png"]
        draw(paths[0])
    begin = time.monotonic()
    for path, pixels in zip(paths, filtered(filter_name, paths), strict=True):
        result = path.with_suffix(f".{filter_name}.png")
        Image.fromarray(pixels).save(result, optimize=True)
        print(f"{result}: {pixels.shape[1]} x {pixels.shape[0]}")
    print(f"{len(paths)} in {1000 * (time.monotonic() - begin):.0f} ms")


if __name__ == "__main__":
    main(*(sys.argv[1:] or ["edges"]))
