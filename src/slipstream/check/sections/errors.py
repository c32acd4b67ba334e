"""What a plugin says when it cannot."""

from __future__ import annotations

from collections.abc import Iterator

from slipstream._native import lib
from slipstream.check import samples
from slipstream.check.play import Played
from slipstream.check.samples import Frame
from slipstream.check.trial import Findings, Trial, answer, check

_FAILURES = range(lib.SLIPSTREAM_PANIC, lib.SLIPSTREAM_FAILED + 1)
_ANSWERS = (lib.SLIPSTREAM_OK, lib.SLIPSTREAM_IGNORED)


def _bad(trial: Trial) -> Iterator[Frame]:
    """Yield frames that no plugin can read."""
    for frame in trial.subject.samples():
        short = list(samples.truncated(frame))
        yield from (short[0], short[4], short[-1])


def _tried(trial: Trial) -> list[tuple[str, Played]]:
    """Deliver what cannot be read; return what each call says, and its answer."""
    trial.needs_samples()
    found = []
    for frame in _bad(trial):
        script = trial.loaded()
        at = script.deliver(frame)
        script.unload()
        script.destroy()
        call = trial.play(script).one(lib.SS_PLAYED_CALL, at)
        if call is not None:
            found.append((script.steps[at].says, call))
    return found


@check("errors.status")
def status(trial: Trial) -> Findings:
    """It answers with statuses of the contract."""
    for says, call in _tried(trial):
        if call.status not in _ANSWERS and call.status not in _FAILURES:
            yield f"{says} returned {call.status}, which is not a status of the contract"


@check("errors.text")
def text(trial: Trial) -> Findings:
    """Its texts are UTF-8."""
    for says, call in _tried(trial):
        try:
            call.text.decode()
        except UnicodeDecodeError as error:
            yield f"{says}: the text of its error is not UTF-8 from byte {error.start} on"


@check("errors.said")
def said(trial: Trial) -> Findings:
    """Who fails says why."""
    for says, call in _tried(trial):
        if call.status < 0 and not call.text:
            yield f"{says} returned {answer(call)}"


@check("errors.next")
def next_event(trial: Trial) -> Findings:
    """An event that failed does not spoil the next."""
    trial.needs_samples()
    script = trial.loaded()
    at, usual = 0, []
    good = next(iter(trial.subject.samples()))
    for frame in _bad(trial):
        script.deliver(frame, ordinal=at + 1)
        usual.append(script.deliver(good, ordinal=at + 2, says="after one that cannot be read"))
        at += 2
    script.flush()
    trial.end(script)
    played = trial.play(script)
    for call in played.of(lib.SS_PLAYED_CALL):
        if call.step in usual and call.status not in _ANSWERS:
            yield f"{script.steps[call.step].says} returned {answer(call)}"


@check("errors.exception")
def exception(trial: Trial) -> Findings:
    """No exception leaves a function."""
    _tried(trial)
    return ()
