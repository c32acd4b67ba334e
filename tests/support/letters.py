"""Dead letters as they stand in a file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NamedTuple

from slipstream import frames
from slipstream.capture import read_frames, read_header


class Letter(NamedTuple):
    """A dead letter: why, and the event."""

    why: dict[str, Any]
    event: Any
    frame: bytes


def letters_in(capture: Path) -> list[Letter]:
    """All letters of a file, each of which is a MARK and the event behind it."""
    with capture.open("rb") as file:
        read_header(file, str(capture))
        found = list(read_frames(file, str(capture)))
    assert len(found) % 2 == 0
    letters = []
    for mark, frame in zip(found[::2], found[1::2], strict=True):
        note, event = frames.decode(mark)[0], frames.decode(frame)[0]
        assert bytes(note.name) == b"slipstream.dead-letter"
        why = json.loads(bytes(note.body))
        assert list(why) == [
            *("plugin", "version", "digest", "ordinal"),
            *("status", "text", "attempts", "time"),
        ]
        letters.append(Letter(why, event, frame))
    return letters
