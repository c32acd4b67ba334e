"""Which threads call a plugin, and which it has."""

from __future__ import annotations

from slipstream._native import lib
from slipstream.check.trial import DEADLINE, Findings, Trial, check

_SMALL_STACK = 256 * 1024
_RACERS, _LAPS = 4, 2_000


def _life_on(trial: Trial, stack: int) -> Findings:
    script = trial.opened()
    script.thread(1, stack)
    script.construct()
    script.load(trial.subject.config())
    script.subscribed()
    trial.send(script)
    script.flush()
    trial.end(script)
    return trial.not_whole_life(trial.play(script))


@check("threads.foreign")
def foreign(trial: Trial) -> Findings:
    """All calls on a thread that is not the main one."""
    return _life_on(trial, 0)


@check("threads.small-stack")
def small_stack(trial: Trial) -> Findings:
    """... and has a small stack."""
    return _life_on(trial, _SMALL_STACK)


@check("threads.concurrent")
def concurrent(trial: Trial) -> Findings:
    """on_broadcast from four threads at once."""
    trial.needs_flag("CONCURRENT")
    trial.needs_samples()
    script = trial.loaded()
    races = [
        script.race(frame, _RACERS, _LAPS, 1 + at * _RACERS * _LAPS)
        for at, frame in enumerate(trial.subject.samples())
    ]
    script.flush()
    trial.end(script)
    played = trial.play(script, 2 * DEADLINE)
    for at in races:
        done = played.one(lib.SS_PLAYED_VALUE, at)
        if done is not None and done.b:
            yield f"{script.steps[at].says}: {done.b:,} of {done.a:,} were refused"


@check("threads.moving")
def moving(trial: Trial) -> Findings:
    """on_broadcast on other threads than the rest, as in mode inline."""
    trial.needs_samples()
    script = trial.loaded()
    at = 0
    for thread in (1, 2, 3):
        script.thread(thread)
        for frame in trial.subject.samples():
            at += 1
            script.deliver(frame, ordinal=at, says=f"on thread {thread}")
    script.thread(0)
    script.flush()
    trial.end(script)
    return trial.failures(trial.play(script))


def _needs_own_threads(trial: Trial) -> None:
    if trial.subject.has("RESIDENT"):
        trial.skip("it is RESIDENT: the threads of its runtime are exempt")


@check("threads.joined")
def joined(trial: Trial) -> Findings:
    """None of its threads is left after on_unload."""
    _needs_own_threads(trial)
    script = trial.kept()
    trial.send(script)
    script.flush()
    script.unload()
    script.compare(lib.SS_STATE_THREADS)
    script.destroy()
    return trial.changes(trial.play(script), lib.SS_STATE_THREADS)


@check("threads.after-destroy")
def after_destroy(trial: Trial) -> Findings:
    """It calls no function of the host after destroy."""
    script = trial.loaded()
    trial.send(script)
    script.unload()
    script.destroy()
    script.sleep(200)
    script.close()
    for late in trial.play(script).of(lib.SS_PLAYED_LATE_CALL):
        yield f"it called {late.words} of its host after destroy"


@check("threads.signals")
def signals(trial: Trial) -> Findings:
    """Its threads block all signals."""
    _needs_own_threads(trial)
    script = trial.kept()
    trial.send(script)
    script.sleep(20)
    script.compare(lib.SS_STATE_THREAD_MASKS)
    trial.end(script)
    return trial.changes(trial.play(script), lib.SS_STATE_THREAD_MASKS)
