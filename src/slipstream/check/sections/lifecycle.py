"""From the constructor to destroy."""

from __future__ import annotations

from slipstream._native import lib
from slipstream.check.trial import Findings, Trial, check


@check("lifecycle.load-unload")
def load_unload(trial: Trial) -> Findings:
    """Loads with its own config, and unloads."""
    script = trial.loaded()
    trial.end(script)
    played = trial.play(script)
    yield from trial.not_whole_life(played)


@check("lifecycle.one-event")
def one_event(trial: Trial) -> Findings:
    """The same with an event of each kind."""
    script = trial.loaded()
    for at, frame in enumerate(trial.subject.samples(), 1):
        script.deliver(frame, ordinal=at)
    script.flush()
    trial.end(script)
    played = trial.play(script)
    yield from trial.not_whole_life(played)
