"""From the constructor to destroy."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace

from slipstream._native import lib
from slipstream.check import samples
from slipstream.check.script import Script
from slipstream.check.trial import Findings, Trial, answer, check
from slipstream.config import JsonValue, pack
from slipstream.text import counted, quoted

_LEFT = (lib.SS_STATE_THREADS, lib.SS_STATE_DESCRIPTORS, lib.SS_STATE_CHILDREN)
_UNLOAD_MS = 1000
_DEEP = 10_000
_UNKNOWN_REASON = 77


@check("lifecycle.load-unload")
def load_unload(trial: Trial) -> Findings:
    """Loads with its own config, and unloads."""
    script = trial.loaded()
    trial.end(script)
    return trial.not_whole_life(trial.play(script))


@check("lifecycle.one-event")
def one_event(trial: Trial) -> Findings:
    """The same with an event of each kind."""
    script = trial.loaded()
    trial.send(script)
    script.flush()
    trial.end(script)
    return trial.not_whole_life(trial.play(script))


@check("lifecycle.fifty")
def fifty(trial: Trial) -> Findings:
    """Fifty lives in one opened library."""
    script = trial.loaded()
    script.unload()
    script.destroy()
    script.again(1, 50)
    script.close()
    return trial.not_whole_life(trial.play(script))


# ---- Configs -----------------------------------------------------------------------------------


def _wrong_values(trial: Trial) -> Iterator[dict[str, JsonValue]]:
    """Yield its config with each of its keys as something else."""
    others: tuple[JsonValue, ...] = (None, True, -1, 1.5, "", "x" * 300, [], [1], {}, {"a": 1})
    own, values = trial.subject.own, trial.subject.values()
    for key in own:
        yield from ({**values, key: other} for other in others)
    yield {key: value for key, value in values.items() if key not in own}


@check("lifecycle.wrong-config")
def wrong_config(trial: Trial) -> Findings:
    """Each of its keys with another type: accepted, or refused with a text."""
    for values in _wrong_values(trial):
        script = trial.constructed()
        load = script.load(pack(values), says=json.dumps(values)[:120])
        script.unload()
        script.destroy()
        script.close()
        call = trial.play(script, may_refuse=True).one(lib.SS_PLAYED_CALL, load)
        if call is not None and call.status != lib.SLIPSTREAM_OK and not call.text:
            yield f"{script.steps[load].says}: refused with {answer(call)}"


def _refused_config(trial: Trial) -> bytes:
    """Return a config that it refuses, packed.

    Raises:
        SkipError: It takes every config.
    """
    for values in _wrong_values(trial):
        script = trial.constructed()
        load = script.load(pack(values))
        script.unload()
        script.destroy()
        call = trial.play(script, may_refuse=True).one(lib.SS_PLAYED_CALL, load)
        if call is not None and call.status != lib.SLIPSTREAM_OK:
            return pack(values)
    return trial.skip("it refuses no config that was tried")


@check("lifecycle.good-after-bad")
def good_after_bad(trial: Trial) -> Findings:
    """A good config works after a refused one."""
    bad = _refused_config(trial)
    script = trial.constructed()
    script.load(bad, says="with a config that it refuses")
    script.destroy()
    script.construct()
    good = script.load(trial.subject.config(), says="after another instance has refused its config")
    trial.end(script)
    played = trial.play(script)
    call = played.one(lib.SS_PLAYED_CALL, good)
    if call is not None and call.status != lib.SLIPSTREAM_OK:
        yield f"{script.steps[good].says} returned {answer(call)}"


@check("lifecycle.refused-clean")
def refused_clean(trial: Trial) -> Findings:
    """A refused config leaves nothing."""
    bad = _refused_config(trial)
    script = trial.opened()
    script.keep()
    script.construct()
    script.load(bad, says="with a config that it refuses")
    script.destroy()
    script.compare(*_LEFT)
    script.close()
    return trial.changes(trial.play(script), *_LEFT)


def _odd_config(trial: Trial, *configs: bytes) -> Findings:
    """Load with configs that no host gives; whatever it answers, the process has to live."""
    script = trial.opened()
    for config in configs:
        script.construct()
        says = f"config {quoted(config[:20])}, {counted(len(config), 'byte')}"
        script.load(config, raw=True, says=says)
        script.unload()
        script.destroy()
    script.close()
    trial.play(script, may_refuse=True)
    return ()


@check("lifecycle.config-empty")
def config_empty(trial: Trial) -> Findings:
    """No byte, and one."""
    return _odd_config(trial, b"", b"{", b"0", b"\0")


@check("lifecycle.config-bytes")
def config_bytes(trial: Trial) -> Findings:
    """Not UTF-8, and JSON that is cut off."""
    text = trial.subject.text()
    return _odd_config(trial, b"\xff\xfe\xfd", b'{"name": "\xc3\x28"}', text[: len(text) // 2])


@check("lifecycle.config-huge")
def config_huge(trial: Trial) -> Findings:
    """A megabyte."""
    script = trial.constructed()
    script.load(trial.subject.config(unknown="x" * (1 << 20)), says="a config of 1 MiB")
    script.unload()
    script.destroy()
    script.close()
    trial.play(script, may_refuse=True)
    return ()


@check("lifecycle.config-deep")
def config_deep(trial: Trial) -> Findings:
    """Nested ten thousand deep."""
    deep = b'{"a":' * _DEEP + b"1" + b"}" * _DEEP
    return _odd_config(
        trial, b'{"name": "x", "libpath": "/x", "deep": ' + deep + b"}", b"[" * _DEEP
    )


def _placed_config(trial: Trial, place: int, says: str) -> Script:
    script = trial.constructed()
    script.load(trial.subject.config(), place=place, says=says)
    script.subscribed()
    trial.send(script)
    script.flush()
    trial.end(script)
    return script


@check("lifecycle.config-end")
def config_end(trial: Trial) -> Findings:
    """Memory ends where the config ends."""
    trial.play(_placed_config(trial, lib.SS_PLAY_PLACE_END, "memory ends where the config ends"))
    return ()


@check("lifecycle.config-const")
def config_const(trial: Trial) -> Findings:
    """The config cannot be written to."""
    trial.play(_placed_config(trial, lib.SS_PLAY_PLACE_CONST, "in memory that can only be read"))
    return ()


@check("lifecycle.config-gone")
def config_gone(trial: Trial) -> Findings:
    """The config is gone when on_load has returned."""
    trial.play(_placed_config(trial, lib.SS_PLAY_PLACE_GONE, "its memory is taken away after"))
    return ()


# ---- The rest ----------------------------------------------------------------------------------


@check("lifecycle.reasons")
def reasons(trial: Trial) -> Findings:
    """Every reason to load, and one that it does not know."""
    known = (lib.SLIPSTREAM_LOAD_RELOAD, lib.SLIPSTREAM_LOAD_RESTART)
    script = trial.opened()
    for reason in (*known, _UNKNOWN_REASON):
        script.construct()
        script.load(trial.subject.config(), reason=reason, says=f"reason {reason}")
        script.unload()
        script.destroy()
    script.close()
    return trial.not_whole_life(trial.play(script))


@check("lifecycle.unload-time")
def unload_time(trial: Trial) -> Findings:
    """on_unload keeps to its time."""
    script = trial.loaded()
    for at, frame in enumerate(trial.subject.samples()):
        script.deliver(frame, ordinal=100 * at + 1, times=100)
    unload = script.unload(timeout=_UNLOAD_MS)
    script.destroy()
    script.close()
    took = trial.least_ms(script, unload, _UNLOAD_MS)
    if took > _UNLOAD_MS * trial.subject.slow:
        yield f"on_unload took {took:,.0f} ms; its timeout_ms was {_UNLOAD_MS:,}"


@check("lifecycle.second-instance")
def second_instance(trial: Trial) -> Findings:
    """Two at once, as far as it allows that; then the first one alone, with its own host."""
    multiple = trial.subject.has("MULTI_INSTANCE")
    script = trial.loaded()
    second = script.construct(1)
    frames = list(trial.subject.samples())
    loaded = None
    if multiple:
        loaded = script.load(trial.subject.config(name="second"), 1, says="the second instance")
        script.subscribed(1)
        for at, frame in enumerate(frames, 1):
            script.deliver(frame, 1, ordinal=at, says="the second instance")
        for at, frame in enumerate(frames, 1):
            script.deliver(frame, ordinal=at, says="the first instance")
        script.unload(1)
    script.destroy(1)
    given = len(frames) if multiple else 0
    for at, frame in enumerate(frames, given + 1):
        script.deliver(frame, ordinal=at, says="after a second instance was destroyed")
    asides = set()  # what comes of these is looked at elsewhere
    if frames:  # it may have an error to tell, and it has one host to tell it to
        unreadable = next(samples.truncated(frames[0]))
        asides.add(script.deliver(unreadable, ordinal=given + len(frames) + 1))
    trial.end(script)
    played = trial.play(script, may_refuse=not multiple, asides=asides)
    trial.skip_if_in_use(played, loaded)
    refusal = played.one(lib.SS_PLAYED_CALL, second)
    if not multiple and refusal is not None and refusal.text:
        asides.add(second)
    of_interest = tuple(p for p in played.played if p.step not in asides)
    for failure in trial.failures(replace(played, played=of_interest)):
        yield f"with two instances: {failure}"
    for late in played.of(lib.SS_PLAYED_LATE_CALL):
        words = f"it called {late.words} of the second one's host, after that one was destroyed"
        yield f"with two instances: {words}"


@check("lifecycle.exit")
def exits(trial: Trial) -> Findings:
    """The process ends without an unload."""
    script = trial.loaded()
    trial.send(script)
    script.call(lib.SS_PLAY_EXIT)
    trial.play(script)
    return ()
