"""Rules of the contract that are easy to miss."""

from __future__ import annotations

import itertools
import platform
import re
from dataclasses import replace

from slipstream._native import lib
from slipstream.check import samples
from slipstream.check.samples import Frame
from slipstream.check.trial import Findings, Trial, answer, check
from slipstream.events import AppEvent
from slipstream.text import counted

_AGAIN = (lib.SLIPSTREAM_RETRY, lib.SLIPSTREAM_NO_MEMORY, lib.SLIPSTREAM_TIMEOUT)
_AT_ONCE_MS = 1000
_CHILD_MS = 3000  # so long a child that was forked may need to come back
_REJECTED = re.compile("reject (was called|of ordinal)")


def _numbered(trial: Trial, times: int) -> list[Frame]:
    usual = list(trial.subject.samples())
    return [samples.numbered(frame, at) for at, frame in enumerate(usual * times, 1)]


@check("contract.retry")
def retry(trial: Trial) -> Findings:
    """An event that it wants again it takes at last."""
    trial.needs_samples()
    script = trial.loaded()
    for at, frame in enumerate(_numbered(trial, 5), 1):
        script.deliver(frame, ordinal=at)
    trial.end(script)
    played = trial.play(script)
    for call in played.of(lib.SS_PLAYED_CALL):
        step = script.steps[call.step]
        if step.what == lib.SS_PLAY_DELIVER and call.status in _AGAIN:
            yield f"{step.says} still returned {answer(call)} when it was offered the 200th time"


@check("contract.flush")
def flush(trial: Trial) -> Findings:
    """What it has taken is durable after a flush that may take its time."""
    trial.needs_flag("EXPLICIT_ACK")
    trial.needs_samples()
    script = trial.loaded()
    for at, frame in enumerate(_numbered(trial, 3), 1):
        script.deliver(frame, ordinal=at)
    script.flush(timeout=lib.SLIPSTREAM_NO_TIMEOUT)
    script.flush(timeout=lib.SLIPSTREAM_NO_TIMEOUT)
    trial.end(script)
    return trial.failures(trial.play(script), lib.SS_PLAY_FLUSH)


@check("contract.ack")
def ack(trial: Trial) -> Findings:
    """It acknowledges nothing that it was not given."""
    trial.needs_flag("EXPLICIT_ACK")
    trial.needs_samples()
    script = trial.loaded()
    for at, frame in enumerate(_numbered(trial, 3), 1):
        script.deliver(frame, ordinal=at)
    script.flush()
    acked = script.call(lib.SS_PLAY_ACKED)
    trial.end(script)
    played = trial.play(script)
    for line in played.of(lib.SS_PLAYED_LINE):
        if line.words.startswith("ack of ordinal"):
            yield line.words
    value = played.one(lib.SS_PLAYED_VALUE, acked)
    flushed = not any(trial.failures(played, lib.SS_PLAY_FLUSH))
    if value is not None and flushed and value.a < value.b:
        yield f"flush acknowledged only {value.a:,} of {counted(value.b, 'event')}"


@check("contract.gap-alone")
def gap_alone(trial: Trial) -> Findings:
    """GAPs of every reason."""
    trial.needs_samples()
    script = trial.loaded()
    ends = lib.SS_PLAY_PLACE_END
    ordinals = itertools.count(samples.GAP_LAST, samples.GAP_STEP)
    _usual, *others = zip(samples.gaps(), ordinals, strict=False)
    deliveries = [script.deliver(gap, ordinal=at, place=ends) for gap, at in others]
    played = trial.play(script)
    for at in deliveries:
        call = played.one(lib.SS_PLAYED_CALL, at)
        if call is None or call.status in {lib.SLIPSTREAM_OK, lib.SLIPSTREAM_IGNORED}:
            continue
        if call.status == lib.SLIPSTREAM_FATAL:
            return  # events.gap says whether it may
        yield f"{script.steps[at].says} returned {answer(call)}"


@check("contract.gap-complete")
def gap_complete(trial: Trial) -> Findings:
    """Who must be complete does not go on after a GAP."""
    if "complete" not in trial.subject.quirks:
        trial.skip('it does not declare the quirk "complete"')
    script = trial.loaded()
    at = script.deliver(next(samples.gaps()), ordinal=samples.GAP_LAST)
    call = trial.play(script).one(lib.SS_PLAYED_CALL, at)
    if call is not None and call.status not in {lib.SLIPSTREAM_FATAL, lib.SLIPSTREAM_PANIC}:
        yield f"it declares itself complete, but answered a GAP with {answer(call)}"


@check("contract.first-ordinal")
def first_ordinal(trial: Trial) -> Findings:
    """The first event may have any number."""
    trial.needs_samples()
    script = trial.loaded()
    for at, frame in enumerate(_numbered(trial, 2), 1000):
        script.deliver(frame, ordinal=at, says=f"ordinal {at}, the first being 1,000")
    script.flush()
    trial.end(script)
    return trial.failures(trial.play(script))


@check("contract.reserved")
def reserved(trial: Trial) -> Findings:
    """Reserved words may have any value."""
    script = trial.loaded(lib.SS_PLAY_HOST_RESERVED)
    trial.send(script)
    script.flush()
    trial.end(script)
    for failure in trial.failures(trial.play(script)):
        yield f"with reserved words that are not 0: {failure}"


@check("contract.null-text")
def null_text(trial: Trial) -> Findings:
    """A text without a byte may be NULL."""
    script = trial.constructed()
    script.load(None, says="config NULL, of no byte")
    script.unload()
    script.destroy()
    script.close()
    trial.play(script, may_refuse=True)
    return ()


@check("contract.run-1000")
def run_1000(trial: Trial) -> Findings:
    """Runs of a thousand, and of one."""
    trial.needs_flag("BATCH")
    trial.needs_samples()
    usual = list(trial.subject.samples())
    frames = [samples.numbered(usual[at % len(usual)], at + 1) for at in range(1000)]
    whole, count = samples.run_of(frames)
    script = trial.loaded()
    script.deliver(whole, count=count, place=lib.SS_PLAY_PLACE_END)
    script.deliver(usual[0], ordinal=count + 1, says="a run of 1")
    script.flush()
    trial.end(script)
    return trial.failures(trial.play(script))


@check("contract.kinds")
def kinds(trial: Trial) -> Findings:
    """Kinds of an application."""
    script = trial.loaded()
    for at, kind in enumerate((40, 63), 1):
        frame = samples.frame_of(AppEvent(kind, b"{}", 1))
        script.deliver(frame, ordinal=at, place=lib.SS_PLAY_PLACE_END)
    trial.end(script)
    trial.play(script)
    return ()


@check("contract.timeout-none")
def timeout_none(trial: Trial) -> Findings:
    """on_unload that may take its time."""
    script = trial.loaded()
    trial.send(script)
    script.unload(timeout=lib.SLIPSTREAM_NO_TIMEOUT)
    script.destroy()
    return trial.failures(trial.play(script), lib.SS_PLAY_UNLOAD)


@check("contract.timeout-zero")
def timeout_zero(trial: Trial) -> Findings:
    """Calls that must not wait."""
    script = trial.loaded()
    trial.send(script)
    waiting = (script.flush(timeout=0), script.unload(timeout=0))
    script.destroy()
    for at in waiting:
        took = trial.least_ms(script, at, _AT_ONCE_MS)
        if took > _AT_ONCE_MS * trial.subject.slow:
            yield f"{script.steps[at].says} with timeout_ms 0 took {took:,.0f} ms"


@check("contract.fork")
def fork(trial: Trial) -> Findings:
    """No call returns in a forked child."""
    script = trial.loaded()
    script.children(_CHILD_MS)
    for at, frame in enumerate(_numbered(trial, 3), 1):
        script.deliver(frame, ordinal=at)
    script.children(_CHILD_MS)
    script.flush()
    script.unload()
    script.destroy()
    script.children(_CHILD_MS)
    script.close()
    played = trial.attempt(script)
    for child in played.of(lib.SS_PLAYED_CHILD):
        yield f"{script.steps[child.step].says} returned a second time, in a child process"


@check("contract.stopping")
def stopping(trial: Trial) -> Findings:
    """A call that should end soon does."""
    trial.needs_samples()
    script = trial.loaded()
    script.call(lib.SS_PLAY_STOPPING, a=1)
    for at, frame in enumerate(trial.subject.samples(), 1):
        script.deliver(frame, ordinal=at, says="while is_stopping")
    trial.end(script)
    played = trial.attempt(script, 3)
    if played.timed_out:
        yield f"{script.steps[played.fault.step].says} did not return in 3 seconds"


@check("contract.claims")
def claims(trial: Trial) -> Findings:
    """The payloads that it claims."""
    script = trial.loaded()
    first, second = script.call(lib.SS_PLAY_CLAIMS), script.call(lib.SS_PLAY_CLAIMS)
    trial.end(script)
    played = trial.play(script)
    for unplayed in played.of(lib.SS_PLAYED_UNPLAYED, first):
        yield f"slipstream.payload/1: {unplayed.words}"
    names = list(played.of(lib.SS_PLAYED_TEXT, first))
    if len(names) > _CLAIMS:
        yield f"its list of payload names has more than {_CLAIMS:,}, or does not end"
        return
    for name in names:
        if name.status in {-1, -2} or name.status > _CLAIM_BYTES:
            yield f"payload name {name.a} is not readable, or has more than {_CLAIM_BYTES} bytes"
        elif name.status == 0:
            yield f"payload name {name.a} is empty"
    if [p.text for p in names] != [p.text for p in played.of(lib.SS_PLAYED_TEXT, second)]:
        yield "its payload names were different when they were asked for again"


_CLAIMS = 1024
_CLAIM_BYTES = 255


@check("contract.reject")
def reject(trial: Trial) -> Findings:
    """It rejects events that it has, with statuses that settle them."""
    trial.needs_flag("BATCH")
    trial.needs_samples()
    frames = _numbered(trial, 4)
    bad = [replace(next(samples.truncated(f)), label="unreadable") for f in frames[:1]]
    whole, count = samples.run_of([*frames, *bad])
    script = trial.loaded()
    script.deliver(whole, count=count, says="with an unreadable frame at its end")
    script.deliver(frames[0], ordinal=count + 1)
    script.flush()
    trial.end(script)
    for line in trial.play(script).of(lib.SS_PLAYED_LINE):
        if _REJECTED.match(line.words):
            yield line.words


@check("contract.host-calls")
def host_calls(trial: Trial) -> Findings:
    """It calls the functions of its host as they may be called."""
    script = trial.loaded()
    for at, frame in enumerate(trial.subject.samples()):
        script.deliver(frame, ordinal=2 * at + 1)
        script.deliver(next(samples.truncated(frame)), ordinal=2 * at + 2)
    script.flush()
    trial.end(script)
    for line in trial.play(script).of(lib.SS_PLAYED_LINE):
        elsewhere = line.words.startswith("ack of ordinal") or _REJECTED.match(line.words)
        judged = "which is not one of its answers" in line.words  # errors.status says so
        if line.status == lib.SLIPSTREAM_LOG_PLUGIN_MISBEHAVING and not elsewhere and not judged:
            yield line.words


# SLIPSTREAM_PANIC in code for x86-64: as a number of 32 bits; push and pop, where size counts.
_PANICS = (lib.SLIPSTREAM_PANIC.to_bytes(4, "little", signed=True), b"\x6a\xef\x58")


@check("contract.panic")
def panic(trial: Trial) -> Findings:
    """Only destroy follows a panic, in a plugin that may return one."""
    code = trial.subject.path.read_bytes()
    if platform.machine() == "x86_64" and not any(number in code for number in _PANICS):
        trial.skip("it never returns PANIC: its code does not contain that number")
    script = trial.loaded()
    trial.send(script)
    script.destroy()
    script.close()
    trial.play(script)
    return ()
