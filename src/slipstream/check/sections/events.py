"""What a plugin does with the bytes of events."""

from __future__ import annotations

from slipstream._native import lib
from slipstream.check import samples
from slipstream.check.trial import Findings, Trial, check

END, START = lib.SS_PLAY_PLACE_END, lib.SS_PLAY_PLACE_START
CONST, GONE = lib.SS_PLAY_PLACE_CONST, lib.SS_PLAY_PLACE_GONE


def _all_placed(trial: Trial, place: int, says: str) -> None:
    """Deliver each sample at such a place; what is wrong makes the process fall."""
    trial.needs_samples()
    script = trial.loaded()
    for at, frame in enumerate(trial.subject.samples(), 1):
        script.deliver(frame, ordinal=at, place=place, says=says)
    script.flush()
    trial.end(script)
    trial.play(script)


@check("events.over-read")
def over_read(trial: Trial) -> Findings:
    """The frames end where memory ends; each field in turn is the last, and fills its place."""
    _all_placed(trial, END, "memory ends where the frames end")
    script = trial.loaded()
    at = 0
    for event in trial.subject.usual():
        for name in samples.span_names(event.kind):
            value: bytes = getattr(event, name) or b""
            whole = value + bytes(-len(value) % 8)
            frame = samples.frame_of(samples.with_field(event, name, whole), label=f"last {name}")
            at += 1
            script.deliver(frame, ordinal=at, place=END, says="memory ends where the frames end")
    trial.end(script)
    trial.play(script)
    return ()


@check("events.under-read")
def under_read(trial: Trial) -> Findings:
    """The frames start where memory starts."""
    _all_placed(trial, START, "memory starts where the frames start")
    return ()


@check("events.const")
def const(trial: Trial) -> Findings:
    """The frames cannot be written to."""
    _all_placed(trial, CONST, "in memory that can only be read")
    return ()
