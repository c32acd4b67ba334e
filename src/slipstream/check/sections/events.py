"""What a plugin does with the bytes of events."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace

from slipstream._native import lib
from slipstream.check import samples
from slipstream.check.play import Play
from slipstream.check.samples import Frame
from slipstream.check.trial import DEADLINE, Findings, Trial, answer, check
from slipstream.events import AppEvent, Event

END, START = lib.SS_PLAY_PLACE_END, lib.SS_PLAY_PLACE_START
CONST, GONE = lib.SS_PLAY_PLACE_CONST, lib.SS_PLAY_PLACE_GONE

_EDGE = "memory ends where the frames end"
_LARGE = 16 << 20
_MANY = 100_000
_ALIGNMENTS = (*range(1, 9), 12, 16, 20, 24, 32, 40, 48, 56)
_UNKNOWN_FLAG, _CRITICAL_FLAG = 1 << 7, 1 << 20


def _delivered(
    trial: Trial, frames: Iterable[Frame], *, place: int = 0, says: str = "", wait: int = 0,
    deadline: float = DEADLINE,
) -> Play:  # fmt: skip
    """Deliver frames to a plugin that then goes the usual way to its end."""
    trial.needs_samples()
    script = trial.loaded()
    for at, frame in enumerate(frames, 1):
        script.deliver(frame, ordinal=at, place=place, says=says)
    if wait:
        script.sleep(wait)
    script.flush()
    trial.end(script)
    return trial.play(script, deadline)


def _fields(trial: Trial) -> Iterator[tuple[Event, str, bytes]]:
    """Yield each event that it takes with each of its fields in turn."""
    for event in trial.subject.usual():
        names = ("data",) if isinstance(event, AppEvent) else samples.span_names(event.kind)
        for name in names:
            yield event, name, getattr(event, name) or b""


def _last(event: Event, name: str, value: bytes) -> Frame:
    """Return an event that ends with one field, which has other bytes."""
    if isinstance(event, AppEvent):
        return samples.frame_of(
            AppEvent(event.kind, value, event.block_height), label=f"{len(value)}-byte data"
        )
    changed = samples.with_field(event, name, value)
    return samples.frame_of(changed, label=f"{len(value)}-byte {name}, nothing after it")


def _filled(event: Event) -> Frame:
    """Return an event whose last field fills its place, with a NUL at its end."""
    name = "data" if isinstance(event, AppEvent) else samples.span_names(event.kind)[-1]
    value = getattr(event, name) or b""
    filled = replace(event, **{name: value + bytes(8 - len(value) % 8)})  # type: ignore[arg-type]
    return samples.frame_of(filled)


@check("events.over-read")
def over_read(trial: Trial) -> Findings:
    """Memory ends where the frames end, and where their last field does."""
    usual = map(_filled, trial.subject.usual())
    _delivered(trial, [*trial.subject.samples(), *usual], place=END, says=_EDGE)
    return ()


@check("events.under-read")
def under_read(trial: Trial) -> Findings:
    """Memory starts where the frames start."""
    says = "memory starts where the frames start"
    _delivered(trial, trial.subject.samples(), place=START, says=says)
    return ()


@check("events.const")
def const(trial: Trial) -> Findings:
    """The frames cannot be written to."""
    _delivered(trial, trial.subject.samples(), place=CONST, says="in memory that can only be read")
    return ()


@check("events.retained")
def retained(trial: Trial) -> Findings:
    """The frames are gone when the call has returned."""
    twice = [*trial.subject.samples(), *trial.subject.samples()]
    _delivered(trial, twice, place=GONE, says="its memory is taken away after")
    return ()


@check("events.retained-by-thread")
def retained_by_thread(trial: Trial) -> Findings:
    """The same, with time for threads of its own."""
    _delivered(
        trial, trial.subject.samples(), place=GONE, says="its memory is taken away after", wait=200
    )
    return ()


@check("events.short-fields")
def short_fields(trial: Trial) -> Findings:
    """Fields that are shorter than usual, at the edge."""
    short = (
        _last(event, name, b"\x01" * size)
        for event, name, _ in _fields(trial)
        for size in range(1, 8)
    )
    _delivered(trial, short, place=END, says=_EDGE)
    return ()


@check("events.no-nul")
def no_nul(trial: Trial) -> Findings:
    """Fields that fill their place, without a NUL in them or behind them."""
    texts = (
        _last(event, name, text)
        for event, name, value in _fields(trial)
        for text in (value + bytes(-len(value) % 8), *(b"abcdefgh" * n for n in (1, 2, 4, 8)))
    )
    _delivered(trial, texts, place=END, says=_EDGE)
    return ()


@check("events.alignment")
def alignment(trial: Trial) -> Findings:
    """Frames at every address."""
    trial.needs_samples()
    script = trial.loaded()
    at = 0
    for shift in _ALIGNMENTS:
        for frame in trial.subject.samples():
            at += 1
            place = shift * lib.SS_PLAY_PLACE_SHIFT
            script.deliver(frame, ordinal=at, place=place, says=f"{shift} past a multiple of 64")
    trial.end(script)
    return trial.event_failures(trial.play(script))


@check("events.empty-fields")
def empty_fields(trial: Trial) -> Findings:
    """Empty fields, and absent ones."""
    empty = []
    for event, name, _ in _fields(trial):
        if isinstance(event, AppEvent):
            empty.append(
                samples.frame_of(AppEvent(event.kind, b"", event.block_height), label="empty data")
            )
        else:
            one = replace(event, **{name: b""})  # type: ignore[arg-type]
            empty += [samples.frame_of(one, label=f"empty {name}"), _last(event, name, b"")]
    for event in trial.subject.usual():
        absent = dict.fromkeys(samples.optional_names(event.kind))
        if absent:
            without = replace(event, **absent)  # type: ignore[arg-type]
            empty.append(samples.frame_of(without, label=f"without {', '.join(absent)}"))
    _delivered(trial, empty, place=END, says=_EDGE)
    return ()


def _as_before(trial: Trial, frames: Iterable[Frame], place: int = 0) -> Findings:
    """Deliver frames that are answered as usual ones are."""
    return trial.event_failures(_delivered(trial, frames, place=place))


@check("events.grown-payload")
def grown_payload(trial: Trial) -> Findings:
    """Payloads of a later minor."""
    return _as_before(
        trial, (samples.grown(f, by) for f in trial.subject.samples() for by in (8, 64))
    )


@check("events.grown-header")
def grown_header(trial: Trial) -> Findings:
    """Headers of a later minor."""
    return _as_before(trial, (samples.with_header(f, 8) for f in trial.subject.samples()))


@check("events.truncated")
def truncated(trial: Trial) -> Findings:
    """Frames that are cut off, and frames that lie."""
    cut = (short for frame in trial.subject.samples() for short in samples.truncated(frame))
    _delivered(trial, cut, place=END, says=_EDGE)
    return ()


@check("events.large")
def large(trial: Trial) -> Findings:
    """A field of 16 MiB."""
    name_of: dict[int, tuple[Event, str]] = {e.kind: (e, name) for e, name, _ in _fields(trial)}
    frames = (_last(event, name, bytes(_LARGE)) for event, name in name_of.values())
    _delivered(trial, frames, deadline=2 * DEADLINE)
    return ()


@check("events.many")
def many(trial: Trial) -> Findings:
    """A hundred thousand events."""
    trial.needs_samples()
    script = trial.loaded()
    frames = list(trial.subject.samples())
    times = _MANY // len(frames)
    for at, frame in enumerate(frames):
        script.deliver(frame, ordinal=1 + at * times, times=times)
    script.flush(timeout=60_000)
    trial.end(script)
    yield from trial.event_failures(trial.play(script, 3 * DEADLINE))


@check("events.run")
def run(trial: Trial) -> Findings:
    """A run is answered as its frames are, one by one."""
    trial.needs_flag("BATCH")
    trial.needs_samples()
    frames = [samples.numbered(f, at) for at, f in enumerate([*trial.subject.samples()] * 3, 1)]
    whole, count = samples.run_of(frames)
    script = trial.loaded()
    single = [script.deliver(f, ordinal=at) for at, f in enumerate(frames, 1)]
    run_at = script.deliver(whole, ordinal=len(frames) + 1, count=count, place=END)
    script.flush()
    trial.end(script)
    played = trial.play(script)
    alone = [p for at in single if (p := played.one(lib.SS_PLAYED_CALL, at)) is not None]
    together = played.one(lib.SS_PLAYED_CALL, run_at)
    if all(p.status >= 0 for p in alone) and together is not None and together.status < 0:
        says = script.steps[run_at].says
        yield f"its frames were taken one by one; {says} returned {answer(together)}"


@check("events.run-undone")
def run_undone(trial: Trial) -> Findings:
    """What was good in a run that was refused is taken one by one."""
    trial.needs_flag("BATCH")
    trial.needs_samples()
    good = [samples.numbered(f, at) for at, f in enumerate(trial.subject.samples(), 1)]
    bad = next(samples.truncated(good[0]))
    whole, count = samples.run_of([*good, bad])
    script = trial.loaded()
    script.deliver(whole, count=count, says="with an unreadable frame at its end")
    after = [
        script.deliver(f, ordinal=at, attempt=2, says="after its run was refused")
        for at, f in enumerate(good, 1)
    ]
    script.flush()
    trial.end(script)
    played = trial.play(script)
    of_them = tuple(p for p in played.played if p.step in after)
    return trial.event_failures(replace(played, played=of_them))


@check("events.repeated")
def repeated(trial: Trial) -> Findings:
    """The same event again."""
    trial.needs_samples()
    script = trial.loaded()
    for at, frame in enumerate(trial.subject.samples(), 1):
        for attempt in (1, 2, 3):
            script.deliver(frame, ordinal=at, attempt=attempt, says=f"attempt {attempt}")
    script.flush()
    trial.end(script)
    return trial.event_failures(trial.play(script))


@check("events.gap")
def gap(trial: Trial) -> Findings:
    """A GAP is taken, or ends a plugin that must be complete."""
    trial.needs_samples()
    script = trial.loaded()
    at = script.deliver(next(samples.gaps()), ordinal=samples.GAP_LAST, place=END)
    played = trial.play(script)
    call = played.one(lib.SS_PLAYED_CALL, at)
    taken = {lib.SLIPSTREAM_OK, lib.SLIPSTREAM_IGNORED, lib.SLIPSTREAM_FATAL}
    if call is not None and call.status not in taken:
        yield f"a GAP was answered with {answer(call)}"


@check("events.delivery-end")
def delivery_end(trial: Trial) -> Findings:
    """Memory ends where the delivery ends, can only be read, and is gone after the call."""
    trial.needs_samples()
    script = trial.loaded()
    place = lib.SS_PLAY_PLACE_DELIVERY | END | CONST | GONE
    twice = [*trial.subject.samples(), *trial.subject.samples()]
    for at, frame in enumerate(twice, 1):
        script.deliver(frame, ordinal=at, place=place, says="memory ends where the delivery ends")
    script.flush()
    trial.end(script)
    trial.play(script)
    return ()


@check("events.unknown-flags")
def unknown_flags(trial: Trial) -> Findings:
    """Flags that may be ignored are."""
    usual = trial.subject.samples()
    flagged = (samples.with_flags(frame, _UNKNOWN_FLAG, "an unknown flag") for frame in usual)
    return _as_before(trial, flagged, lib.SS_PLAY_PLACE_FLAGS)


@check("events.critical-flag")
def critical_flag(trial: Trial) -> Findings:
    """Flags that must be known are not ignored by who reads, and the next event is taken."""
    trial.needs_samples()
    script = trial.loaded()
    critical, usual = {}, []
    for frame in trial.subject.samples():
        changed = samples.with_flags(frame, _CRITICAL_FLAG, "an unknown critical flag")
        at = len(script.steps)
        critical[script.deliver(changed, ordinal=at + 1)] = frame
        says = "after one with an unknown critical flag"
        usual.append(script.deliver(frame, ordinal=at + 2, says=says))
    trial.end(script)
    played = trial.play(script)
    for call in played.of(lib.SS_PLAYED_CALL):
        taken = call.step in critical and call.status == lib.SLIPSTREAM_OK
        if taken and _reads(trial, critical[call.step]):
            yield f"{script.steps[call.step].says} was answered with OK"
    yield from trial.event_failures(
        replace(played, played=tuple(p for p in played.played if p.step in usual))
    )


def _reads(trial: Trial, frame: Frame) -> bool:
    """Say whether it reads frames; who takes one that cannot be read may only count them, say."""
    script = trial.loaded()
    at = script.deliver(next(samples.truncated(frame)))
    call = trial.attempt(script).one(lib.SS_PLAYED_CALL, at)
    return call is None or call.status != lib.SLIPSTREAM_OK
