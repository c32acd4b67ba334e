"""examples/host-image: the plugin's pixels are those that numpy makes."""

from __future__ import annotations

import runpy
import subprocess
import sys
from pathlib import Path

import pytest

from examples_tools import EXAMPLES
from slipstream import AppEvent
from slipstream.testing import FakeHost

np = pytest.importorskip("numpy")
Image = pytest.importorskip("PIL.Image")
HOST = EXAMPLES / "host-image"


def pixels_of(path: Path):
    with Image.open(path) as image:
        return np.asarray(image)


def around(pixels, dx: int, dy: int):
    """The pixels beside each; what lies outside is what lies at the border."""
    wide = np.pad(pixels, [(1, 1), (1, 1)] + [(0, 0)] * (pixels.ndim - 2), mode="edge")
    return wide[1 + dy : wide.shape[0] - 1 + dy, 1 + dx : wide.shape[1] - 1 + dx]


def blur(pixels):
    return sum(around(pixels, x, y) for x in (-1, 0, 1) for y in (-1, 0, 1)) // 9


def edges(pixels):
    grey = pixels @ [299, 587, 114] // 1000
    across = sum((2 - abs(i)) * (around(grey, 1, i) - around(grey, -1, i)) for i in (-1, 0, 1))
    down = sum((2 - abs(i)) * (around(grey, i, 1) - around(grey, i, -1)) for i in (-1, 0, 1))
    return np.minimum(abs(across) + abs(down), 255)[..., None].repeat(3, axis=2)


def sepia(pixels):
    parts = np.array([[393, 769, 189], [349, 686, 168], [272, 534, 131]])
    return np.minimum(pixels @ parts.T // 1000, 255)


@pytest.mark.parametrize("wanted", [blur, edges, sepia], ids=lambda one: one.__name__)
def test_the_pixels_are_those_of_numpy(built: Path, tmp_path: Path, wanted) -> None:
    filtered = runpy.run_path(str(HOST / "host.py"))["filtered"]
    randomly = np.random.default_rng(7)
    pictures = [
        randomly.integers(0, 256, (*size, 3), np.uint8) for size in ((1, 1), (2, 7), (60, 41))
    ]
    paths = [tmp_path / f"{number}.png" for number in range(len(pictures))]
    for path, pixels in zip(paths, pictures, strict=True):
        Image.fromarray(pixels).save(path)
    for found, pixels in zip(filtered(wanted.__name__, paths), pictures, strict=True):
        np.testing.assert_array_equal(found, wanted(pixels.astype(int)))


def test_the_pictures_of_the_readme_are_what_it_makes(built: Path, tmp_path: Path) -> None:
    names = runpy.run_path(str(HOST / "host.py"))
    names["draw"](tmp_path / "before.png")
    before = pixels_of(HOST / "before.png")
    assert pixels_of(tmp_path / "before.png").shape == (200, 320, 3)
    command = [sys.executable, str(HOST / "host.py"), "sepia", str(tmp_path / "before.png")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    assert "before.sepia.png: 320 x 200" in done.stdout
    for name, make in (("sepia", sepia), ("edges", edges)):
        kept = pixels_of(HOST / f"before.{name}.png")
        np.testing.assert_array_equal(kept, make(before.astype(int)))


@pytest.mark.parametrize("data", [b"", b"\0" * 16, b"\0" * 4 + b"\1\0\0\0" * 2 + b"\0" * 4 + b"12"])
def test_what_is_no_picture_is_refused(built: Path, tmp_path: Path, data: bytes) -> None:
    with FakeHost(built / "host-image" / "filter.so", data_dir=tmp_path) as host:
        answer = host.deliver(AppEvent(32, data))
        assert answer.text == "the event is not a picture"
    assert list(tmp_path.iterdir()) == []
