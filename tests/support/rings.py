"""What the tests of thread mode share: a small ring, and events that fill it."""

from __future__ import annotations

from pathlib import Path

from slipstream import Block, frames
from slipstream.capture import read_frames, read_header
from slipstream.events import Mark

RING = 64 * 1024
HELD = 15
THREAD = {"mode": "thread", "ring_bytes": RING}


def page(height: int) -> bytes:
    """An event whose frame takes 4,096 bytes; a ring of 64 KiB holds HELD of them."""
    return frames.encode(Block(bytes(4032), height))


def small(height: int) -> bytes:
    return frames.encode(Block(b"b", height))


def heights_in(capture: Path) -> list[int]:
    with capture.open("rb") as file:
        read_header(file, str(capture))
        events = [frames.decode(frame)[0] for frame in read_frames(file, str(capture))]
    return [event.block_height for event in events if not isinstance(event, Mark)]
