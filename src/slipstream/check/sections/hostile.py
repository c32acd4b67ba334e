"""Events that no source sends, and many."""

from __future__ import annotations

import itertools

from slipstream._native import lib
from slipstream.check import samples
from slipstream.check.trial import DEADLINE, Findings, Trial, answer, check
from slipstream.events import AppEvent

_MUTATIONS = 20_000
_ENDS = 20  # times that a plugin may end itself (FATAL) before it is taken at its word
_MILLION = 1_000_000
_LIVES = 10
_BUDGET_NS = 6_000_000_000  # for the million; a plugin that is slower gets fewer
_GIVEN = {40, 63}  # of these another check sends events
_UNGIVEN = [kind for kind in (*range(9, 63), 64, 100, 65535) if kind not in _GIVEN]


@check("hostile.mutations")
def mutations(trial: Trial) -> Findings:
    """Payloads that were changed at random."""
    trial.needs_samples()
    for frame in trial.subject.samples():
        first = 1
        for _ in range(_ENDS):
            script = trial.loaded()
            at = script.mutate(frame, trial.subject.seed, _MUTATIONS + 1 - first, first=first)
            done = trial.play(script, 3 * DEADLINE).one(lib.SS_PLAYED_VALUE, at)
            first += _MUTATIONS if done is None else done.a
            if first > _MUTATIONS:
                break
    return ()


@check("hostile.kinds")
def kinds(trial: Trial) -> Findings:
    """Kinds that are not given away."""
    trial.needs_samples()
    script = trial.loaded()
    usual = next(iter(trial.subject.samples()))
    app = samples.frame_of(AppEvent(lib.SLIPSTREAM_KIND_APP_FIRST, b"{}", 1))
    after = []
    ordinals = itertools.count(1)
    for kind in _UNGIVEN:
        if not (kind < 64 and trial.subject.takes(kind)):
            script.deliver(samples.of_kind(app, kind), ordinal=next(ordinals))
        after.append(script.deliver(usual, ordinal=next(ordinals), says=f"after kind {kind}"))
    trial.end(script)
    played = trial.play(script)
    ends = {lib.SLIPSTREAM_FATAL, lib.SLIPSTREAM_PANIC}
    for call in played.of(lib.SS_PLAYED_CALL):
        step = script.steps[call.step]
        is_event = step.what == lib.SS_PLAY_DELIVER
        if is_event and (call.status in ends or (call.step in after and call.status < 0)):
            yield f"{step.says} returned {answer(call)}"


@check("hostile.order")
def order(trial: Trial) -> Findings:
    """Sequences, heights and times that go back, ordinals that jump."""
    trial.needs_samples()
    script = trial.loaded()
    at = 1
    for sequence, height, ordinal in ((9, 900, 1), (3, 10, 2), (2**63, 2**62, 50), (1, 0, 51)):
        for event in trial.subject.usual():
            frame = samples.at_height(samples.frame_of(event, sequence), height)
            at = max(at + 1, ordinal)
            script.deliver(frame, ordinal=at, says=f"sequence {sequence}")
    script.flush()
    trial.end(script)
    trial.play(script)
    return ()


@check("hostile.million")
def million(trial: Trial) -> Findings:
    """A million events, with lives that end in between."""
    trial.needs_samples()
    frames = list(trial.subject.samples())
    probe = trial.loaded()
    for frame in frames:
        probe.deliver(frame)
    timed = [probe.deliver(frame, ordinal=2, times=1) for frame in frames for _ in range(20)]
    trial.end(probe)
    played = trial.play(probe)
    calls = [p.a for at in timed if (p := played.one(lib.SS_PLAYED_CALL, at)) is not None]
    each = max(1, sorted(calls)[len(calls) // 2]) if calls else 1
    times = max(1, min(_MILLION, _BUDGET_NS // each) // (_LIVES * len(frames)))
    script = trial.opened()
    script.construct()
    script.load(trial.subject.config())
    for at, frame in enumerate(frames):
        script.deliver(frame, ordinal=1 + at * times, times=times)
    script.flush(timeout=60_000)
    script.unload()
    script.destroy()
    script.again(1, _LIVES)
    script.close()
    return trial.failures(trial.play(script, 4 * DEADLINE))
