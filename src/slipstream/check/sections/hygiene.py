"""What belongs to the process, and not to a plugin in it."""

from __future__ import annotations

from slipstream._native import lib
from slipstream.check.trial import CheckFunction, Findings, Trial, check


def _left_alone(name: str, part: int) -> CheckFunction:
    """Make the check that a part of the process's state is left alone, at all times."""

    @check(f"hygiene.{name}")
    def left_alone(trial: Trial) -> Findings:
        script = trial.kept()
        script.compare(part)
        for at, frame in enumerate(trial.subject.samples(), 1):
            script.deliver(frame, ordinal=at)
            script.compare(part)
        script.flush()
        script.unload()
        script.destroy()
        script.compare(part)
        return trial.changes(trial.play(script), part)

    return left_alone


_PARTS = {
    "signals": lib.SS_STATE_SIGNALS,
    "signal-mask": lib.SS_STATE_MASK,
    "locale": lib.SS_STATE_LOCALE,
    "floating-point": lib.SS_STATE_FLOATS,
    "output": lib.SS_STATE_OUTPUT,
    "directory": lib.SS_STATE_DIRECTORY,
    "umask": lib.SS_STATE_UMASK,
    "environment": lib.SS_STATE_ENVIRONMENT,
    "timers": lib.SS_STATE_TIMERS,
    "limits": lib.SS_STATE_LIMITS,
}

CHECKS = [_left_alone(name, part) for name, part in _PARTS.items()]
