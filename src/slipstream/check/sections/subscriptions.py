"""What a plugin wants, and what it does with that."""

from __future__ import annotations

from slipstream._native import lib
from slipstream.check import samples
from slipstream.check.trial import Findings, Trial, check

_NEVER = range(lib.SLIPSTREAM_KIND_MARK, lib.SLIPSTREAM_KIND_APP_FIRST)


@check("subscriptions.stable")
def stable(trial: Trial) -> Findings:
    """It says the same in each life."""
    script = trial.opened()
    asked = []
    for _ in range(2):
        script.construct()
        script.load(trial.subject.config())
        asked.append(script.subscribed())
        script.unload()
        script.destroy()
    script.close()
    played = trial.play(script)
    values = [v.a for step in asked if (v := played.one(lib.SS_PLAYED_VALUE, step)) is not None]
    if len(set(values)) > 1:
        yield f"subscribed_events gave {values[0]:#x}, then {values[1]:#x}"


@check("subscriptions.known")
def known(trial: Trial) -> Findings:
    """It wants no kind that never comes."""
    for kind in _NEVER:
        if trial.subject.takes(kind):
            yield f"it subscribes to kind {kind}, which is never delivered"


@check("subscriptions.accepted")
def accepted(trial: Trial) -> Findings:
    """It takes an event of each kind that it wants."""
    trial.needs_samples()
    script = trial.loaded()
    for at, frame in enumerate(trial.subject.samples(), 1):
        script.deliver(frame, ordinal=at)
    trial.end(script)
    return trial.event_failures(trial.play(script))


@check("subscriptions.unsubscribed")
def unsubscribed(trial: Trial) -> Findings:
    """A kind that it does not want does no harm."""
    script = trial.loaded()
    at = 0
    for kind in range(lib.SLIPSTREAM_KIND_MARK):
        event = samples.usual(kind)
        if event is not None and kind != samples.GAP and not trial.subject.takes(kind):
            at += 1
            frame = samples.frame_of(event)
            script.deliver(frame, ordinal=at, says="which it does not subscribe to")
    for number, frame in enumerate(trial.subject.samples(), at + 1):
        script.deliver(frame, ordinal=number, says="after kinds that it does not subscribe to")
    trial.end(script)
    return trial.event_failures(trial.play(script))
