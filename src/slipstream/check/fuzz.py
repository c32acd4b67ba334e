"""Events made up of others for as long as one likes, and events that a plugin crashed with."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from slipstream._native import lib
from slipstream.check import samples
from slipstream.check.blame import blame
from slipstream.check.play import Play, play
from slipstream.check.script import Script
from slipstream.check.trial import DEADLINE
from slipstream.errors import SlipstreamError
from slipstream.files import FileProblem, read_small
from slipstream.text import counted, printable

if TYPE_CHECKING:
    from slipstream.check.subject import Subject

_LIVES = 100_000  # of a plugin that ends its own life now and then
_MAGIC = b"slipstream check input 1\n"
_LARGEST = 64 << 20
_HEADER = lib.SLIPSTREAM_FRAME_HEADER_LEN


@dataclass(frozen=True, slots=True)
class Fuzzed:
    """What came of fuzzing.

    Attributes:
        tried: How many events were given.
        edges: How many edges of its code were seen; None if it was not built so that it tells.
        kept: How many events reached something new.
        finding: How the plugin fell; "" if it did not.
        timed_out: It did not come back from an event.
        input: The event with which it fell.
    """

    tried: int
    edges: int | None
    kept: int
    finding: str
    timed_out: bool
    input: bytes


def fuzz(subject: Subject, seconds: float, seed: int, limit: int = 0) -> Fuzzed:
    """Give a plugin events that are made up of usual ones.

    Args:
        subject: The plugin; it was explored.
        seconds: For how long.
        seed: The same gives the same events, unless the plugin behaves in another way.
        limit: At most so many events; 0: any number.

    Raises:
        SlipstreamError: The plugin does not get as far as that.
    """
    frames = list(subject.samples())
    if not frames:
        raise SlipstreamError(
            f"{printable(subject.path.name)} takes no kind of event that could be made up",
            "give events of its own kinds with --events FILE, and make sure that "
            "slipstream check --quick passes",
        )
    script = Script()
    script.open(subject.path)
    first = script.construct()
    script.load(subject.config())
    fuzzing = script.fuzz(frames, seed, int(seconds * 1000), limit)
    script.unload()
    script.destroy()
    script.again(first, _LIVES, while_fuzzing=True)
    script.close()
    patience = DEADLINE * subject.slow
    played = play(script, patience, seconds + 3 * patience)
    rounds = list(played.of(lib.SS_PLAYED_VALUE, fuzzing))
    fell = not played.is_whole
    at_event = fell and played.fault.step == fuzzing
    if not fell and not rounds:
        raise SlipstreamError(
            f"{printable(subject.path.name)} does not load", "slipstream check FILE says why"
        )
    if not fell and any(played.of(lib.SS_PLAYED_UNPLAYED, fuzzing)):
        raise SlipstreamError(
            f"{printable(subject.path.name)} ended itself after "
            f"{counted(rounds[-1].a, 'event')}, and did not load again",
            "slipstream check FILE says why",
        )
    if at_event:
        frame = samples.as_it_is(played.fault.input, f"fuzzed (seed {seed})")
        step = replace(played.steps[fuzzing], says=f"on_broadcast, {frame.label}", frame=frame)
        played = replace(
            played, steps=(*played.steps[:fuzzing], step, *played.steps[fuzzing + 1 :])
        )
    last = rounds[-1] if rounds else None
    return Fuzzed(
        played.fault.time + 1 if at_event else last.a if last else 0,
        last.status if last is not None and last.status >= 0 else None,
        last.b if last is not None else 0,
        blame(played) if fell else "",
        played.timed_out,
        played.fault.input if at_event else b"",
    )


# ---- Inputs that are kept ----------------------------------------------------------------------


def save(data: bytes, subject: Subject, folder: Path) -> Path:
    """Write an event with which a plugin fell to a file; return it.

    Args:
        data: The frame, as it was.
        subject: The plugin, which the file names.
        folder: Where the file goes; its name comes from what is in it.
    """
    name = hashlib.sha256(data).hexdigest()[:12]
    path = folder / f"check-crash-{name}.bin"
    about = {"library": str(subject.path)}
    path.write_bytes(_MAGIC + json.dumps(about).encode() + b"\n" + data)
    return path


def load(path: Path) -> tuple[Path | None, bytes]:
    """Read what `save` has written, or the bytes of a frame alone.

    Returns:
        The library that it names, if it names one, and the frame.

    Raises:
        SlipstreamError: It cannot be read, or holds no frame.
    """
    shown = printable(str(path))
    try:
        data = read_small(path, _LARGEST)
    except FileProblem as problem:
        raise SlipstreamError(
            f"the input {shown} {problem.reason}", problem.hint("check the path")
        ) from None
    library = None
    if data.startswith(_MAGIC):
        head, _, data = data.removeprefix(_MAGIC).partition(b"\n")
        try:
            library = Path(json.loads(head)["library"])
        except (ValueError, KeyError, TypeError, RecursionError):
            raise SlipstreamError(f"{shown} is damaged", "take another copy of it") from None
    if len(data) < _HEADER:
        raise SlipstreamError(f"{shown} is not an input of slipstream check", "check the path")
    return library, data


def repeat(subject: Subject, data: bytes) -> Play:
    """Give a plugin one event, in memory that ends where the event ends."""
    script = Script()
    script.open(subject.path)
    script.construct()
    script.load(subject.config())
    script.deliver(samples.as_it_is(data, "as it was kept"), place=lib.SS_PLAY_PLACE_END)
    script.unload()
    script.destroy()
    script.close()
    return play(script, DEADLINE * subject.slow, 3 * DEADLINE * subject.slow)
