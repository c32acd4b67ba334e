"""Opening the library, and its constructor."""

from __future__ import annotations

from slipstream._native import lib
from slipstream.check.play import Play
from slipstream.check.trial import DEADLINE, Findings, Trial, check

_CHEAP_NS = 100_000_000
_ALL = (
    lib.SS_STATE_SIGNALS, lib.SS_STATE_DIRECTORY, lib.SS_STATE_UMASK, lib.SS_STATE_ENVIRONMENT,
    lib.SS_STATE_LOCALE, lib.SS_STATE_THREADS, lib.SS_STATE_DESCRIPTORS, lib.SS_STATE_CHILDREN,
)  # fmt: skip


@check("entry.loads")
def loads(trial: Trial) -> Findings:
    """Opens with all symbols resolved."""
    script = trial.opened()
    script.close()
    for refusal in trial.play(script).of(lib.SS_PLAYED_REFUSED):
        yield ": ".join(filter(None, refusal.words.split("\0")))


@check("entry.quiet-load")
def quiet_load(trial: Trial) -> Findings:
    """Opening and closing leave the process as it was."""
    script = trial.opened()
    script.steps.clear()
    script.keep()
    script.open(trial.subject.path)
    script.compare(*_ALL)
    script.close()
    return trial.changes(trial.play(script), *_ALL)


@check("entry.constructor")
def constructor(trial: Trial) -> Findings:
    """The constructor gives a table, or says why not."""
    script = trial.constructed()
    script.destroy()
    script.close()
    played = trial.play(script, may_refuse=True)  # a table that is refused is looked at later
    yield from trial.failures(played, lib.SS_PLAY_CONSTRUCT)


@check("entry.constructor-again")
def constructor_again(trial: Trial) -> Findings:
    """It works again after destroy."""
    yield from trial.failures(trial.play(trial.constructions(2)), lib.SS_PLAY_CONSTRUCT)


def _play_life(trial: Trial, host: int) -> Play:
    script = trial.loaded(host)
    trial.send(script)
    script.flush()
    trial.end(script)
    return trial.play(script)


def _whole_life(trial: Trial, host: int) -> Findings:
    played = _play_life(trial, host)
    yield from trial.not_whole_life(played)
    if refused := list(trial.event_failures(played)):
        usual = set(trial.event_failures(_play_life(trial, lib.SS_PLAY_HOST_USUAL)))
        yield from (f"{one}, and not with the usual host" for one in refused if one not in usual)


@check("entry.newer-host")
def newer_host(trial: Trial) -> Findings:
    """A host with a larger table and a higher minor."""
    return _whole_life(trial, lib.SS_PLAY_HOST_NEWER)


@check("entry.host-table")
def host_table(trial: Trial) -> Findings:
    """The host's table ends where memory ends."""
    return _whole_life(trial, lib.SS_PLAY_HOST_EDGE)


@check("entry.host-const")
def host_const(trial: Trial) -> Findings:
    """The host's table cannot be written to."""
    return _whole_life(trial, lib.SS_PLAY_HOST_CONST)


@check("entry.cheap")
def cheap(trial: Trial) -> Findings:
    """The constructor is quick."""
    played = trial.play(trial.constructions(3), may_refuse=True)
    calls = [p for p in played.of(lib.SS_PLAYED_CALL)
             if played.steps[p.step].what == lib.SS_PLAY_CONSTRUCT]  # fmt: skip
    best = min((call.a for call in calls), default=0)
    if best > _CHEAP_NS * trial.subject.slow:
        yield f"the constructor took {best / 1e6:.0f} ms, three times"


@check("entry.twenty")
def twenty(trial: Trial) -> Findings:
    """All of it twenty times."""
    script = trial.constructed()
    script.destroy()
    script.close()
    script.again(0, 20)
    return trial.failures(trial.play(script, 2 * DEADLINE), lib.SS_PLAY_OPEN, lib.SS_PLAY_CONSTRUCT)


@check("entry.bare-host")
def bare_host(trial: Trial) -> Findings:
    """A host that offers no extension."""
    script = trial.loaded(lib.SS_PLAY_HOST_BARE)
    trial.send(script)
    trial.end(script)
    trial.play(script, may_refuse=True)
    return ()


@check("entry.refusal-text")
def refusal_text(trial: Trial) -> Findings:
    """Who refuses a host without extensions says why."""
    script = trial.constructed(lib.SS_PLAY_HOST_BARE)
    script.load(trial.subject.config())
    trial.end(script)
    played = trial.play(script, may_refuse=True)
    for call in played.of(lib.SS_PLAYED_CALL):
        step = played.steps[call.step]
        if step.what not in {lib.SS_PLAY_CONSTRUCT, lib.SS_PLAY_LOAD}:
            continue
        if call.status != lib.SLIPSTREAM_OK and not call.text:
            yield f"{step.says} refused a host without extensions, and gave no text"


@check("entry.starts-nothing")
def starts_nothing(trial: Trial) -> Findings:
    """The constructor starts no thread and opens nothing."""
    parts = (lib.SS_STATE_THREADS, lib.SS_STATE_DESCRIPTORS, lib.SS_STATE_CHILDREN)
    script = trial.opened()
    script.keep()
    script.construct()
    script.compare(*parts)
    script.destroy()
    script.close()
    return trial.changes(trial.play(script), *parts)
