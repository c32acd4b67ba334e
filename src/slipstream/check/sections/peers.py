"""What a plugin takes from peers, and what it asks of a host that has them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from slipstream._native import lib
from slipstream.check import samples
from slipstream.check.play import Play
from slipstream.check.subject import file_of
from slipstream.check.trial import Findings, Trial, answer, check
from slipstream.events import PeerForgotten, PeerSeen
from slipstream.text import printable

_EXTENSIONS = ("slipstream.send/1", "slipstream.peers/1", "slipstream.identity/1")
_AGAIN = (lib.SLIPSTREAM_RETRY, lib.SLIPSTREAM_NO_MEMORY, lib.SLIPSTREAM_TIMEOUT)
_GRANTS = {  # what one of these grants is needed for
    lib.SS_PLAY_ASKED_SEND: ("sends messages", ("send",)),
    lib.SS_PLAY_ASKED_PEERS: ("looks peers up", ("peers",)),
    lib.SS_PLAY_ASKED_KEY: ("asks for the host's key", ("identity.sign", "identity.open")),
    lib.SS_PLAY_ASKED_SIGN: ("signs", ("identity.sign",)),
    lib.SS_PLAY_ASKED_OPEN: ("opens boxes", ("identity.open",)),
}
_NOBODY = b"peer-nobody"  # whom the host has never told of
_NO_NAME = b"org.example.claimed-by-nobody"
_BUSY_SECONDS = 3


def _life(trial: Trial, host: int = 0, deadline: float | None = None) -> Play:
    """Play a whole life with all events, in a host that has peers, or has none."""
    script = trial.loaded(host)
    for at, frame in enumerate((*trial.subject.samples(), *_news(trial)), 1):
        script.deliver(frame, ordinal=at)
    script.flush()
    trial.end(script)
    return trial.play(script) if deadline is None else trial.attempt(script, deadline)


def _news(trial: Trial) -> Iterator[samples.Frame]:
    """Yield what it claims although it does not take what was made up for it."""
    return trial.subject.routed(set(trial.subject.claims) - set(trial.subject.taken))


def _needs_kind(trial: Trial, kind: int, name: str) -> None:
    if not trial.subject.takes(kind):
        trial.skip(f"it does not subscribe to {name}")


@check("peers.claimed")
def claimed(trial: Trial) -> Findings:
    """It takes what it claims, and bears what it does not."""
    if not trial.subject.claims:
        trial.skip("it claims no payload names")
    frames = list(trial.subject.routed(trial.subject.claims))
    unclaimed = samples.frame_of(samples.routed(replace(samples.NOTE, name=_NO_NAME)))
    script = trial.loaded()
    for at, frame in enumerate([*frames, unclaimed], 1):
        script.deliver(frame, ordinal=at, place=lib.SS_PLAY_PLACE_END)
    trial.end(script)
    for call in trial.play(script).of(lib.SS_PLAYED_CALL):
        tried = script.steps[call.step].frame
        if tried in frames and call.status == lib.SLIPSTREAM_IGNORED:
            yield f"{script.steps[call.step].says}, was answered with IGNORED, but it claims that"


@check("peers.claims-once")
def claims_once(trial: Trial) -> Findings:
    """No name stands twice among those that it claims."""
    script = trial.loaded()
    at = script.call(lib.SS_PLAY_CLAIMS)
    trial.end(script)
    names = [name.words for name in trial.play(script).of(lib.SS_PLAYED_TEXT, at)]
    for name in dict.fromkeys(names):
        if names.count(name) > 1:
            yield f'it claims "{name}" {names.count(name)} times'


@check("peers.claims-constant")
def claims_constant(trial: Trial) -> Findings:
    """It claims the same names after its events, and in its next life."""
    script = trial.loaded()
    asked = [script.call(lib.SS_PLAY_CLAIMS)]
    trial.send(script)
    asked.append(script.call(lib.SS_PLAY_CLAIMS))
    script.unload()
    script.destroy()
    script.construct()
    script.load(trial.subject.config())
    asked.append(script.call(lib.SS_PLAY_CLAIMS))
    trial.end(script)
    played = trial.play(script)
    first, *others = ([p.text for p in played.of(lib.SS_PLAYED_TEXT, at)] for at in asked)
    for names, when in zip(others, ("after its first events", "in its second life"), strict=True):
        if names != first:
            yield f"it claimed other names {when}"


@check("peers.seen")
def seen(trial: Trial) -> Findings:
    """Of a peer not all may be known, and it may be seen in a way that is new."""
    _needs_kind(trial, lib.SLIPSTREAM_KIND_PEER_SEEN, "PEER_SEEN")
    script = trial.loaded()
    one = PeerSeen(b"peer-1", public_key=b"k" * 32, name=b"one", via=lib.SLIPSTREAM_PEER_DIRECT)
    ways = {
        "with all that may be known": one,
        "without a key": replace(one, public_key=None),
        "without a name": replace(one, name=None),
        "with nothing but the peer": replace(one, public_key=None, name=None),
        "routed": replace(one, via=lib.SLIPSTREAM_PEER_ROUTED),
        "in an unknown way": replace(one, via=lib.SLIPSTREAM_PEER_ROUTED + 1),
    }
    for at, (label, event) in enumerate(ways.items(), 1):
        script.deliver(samples.frame_of(event, at, label), ordinal=at, place=lib.SS_PLAY_PLACE_END)
    trial.end(script)
    return trial.event_failures(trial.play(script))


@check("peers.forgotten")
def forgotten(trial: Trial) -> Findings:
    """A peer may be forgotten that it does not know, or has forgotten before."""
    _needs_kind(trial, lib.SLIPSTREAM_KIND_PEER_FORGOTTEN, "PEER_FORGOTTEN")
    script = trial.loaded()
    for at, peer in enumerate((_NOBODY, b"peer-1", b"peer-1"), 1):
        label = "of a peer that was not seen" if peer == _NOBODY else ""
        script.deliver(samples.frame_of(PeerForgotten(peer), at, label), ordinal=at)
    trial.end(script)
    return trial.event_failures(trial.play(script))


@check("peers.when-loaded")
def when_loaded(trial: Trial) -> Findings:
    """It asks its host for such things while it is loaded."""
    return (p.words for p in _life(trial).of(lib.SS_PLAYED_MISUSED) if p.a == 1)


@check("peers.arguments")
def arguments(trial: Trial) -> Findings:
    """It asks for what there is."""
    return (p.words for p in _life(trial).of(lib.SS_PLAYED_MISUSED) if p.a == 0)


@check("peers.grants")
def grants(trial: Trial) -> Findings:
    """What it asks for, its info wants to be granted."""
    _, info = file_of(trial.subject.path)
    if info is None:
        trial.skip("it has no info")
    for asked in {p.a for p in _life(trial).of(lib.SS_PLAYED_ASKED)}:
        does, needed = _GRANTS[asked]
        if not set(needed) & set(info.grants):
            yield f'it {does}, and "grants" of its info does not have "{needed[0]}"'


@check("peers.absent")
def absent(trial: Trial) -> Findings:
    """A host may have no peers."""
    _, info = file_of(trial.subject.path)
    required = set(info.requires if info is not None else ()) & set(_EXTENSIONS)
    script = trial.loaded(lib.SS_PLAY_HOST_ALONE)
    trial.send(script)
    trial.end(script)
    played = trial.play(script, may_refuse=True)
    for call in played.of(lib.SS_PLAYED_CALL):
        is_load = played.steps[call.step].what == lib.SS_PLAY_LOAD
        if is_load and call.status != lib.SLIPSTREAM_OK and not required:
            yield f"it does not load without them, and its info does not say so: {answer(call)}"


@check("peers.denied")
def denied(trial: Trial) -> Findings:
    """Where nothing is granted, no event waits for it."""
    played = _life(trial, lib.SS_PLAY_HOST_DENYING)
    for call in played.of(lib.SS_PLAYED_CALL):
        step = played.steps[call.step]
        if step.what == lib.SS_PLAY_DELIVER and call.status in _AGAIN:
            yield f"{step.says} still returned {answer(call)} the 200th time, without a grant"


@check("peers.busy")
def busy(trial: Trial) -> Findings:
    """It does not wait in a call for a host that has no time."""
    played = _life(trial, lib.SS_PLAY_HOST_BUSY, _BUSY_SECONDS)
    if played.timed_out:
        yield f"{played.steps[played.fault.step].says} did not return in {_BUSY_SECONDS} seconds"


@check("peers.unknown")
def unknown(trial: Trial) -> Findings:
    """A host may know nobody, and open nothing."""
    _life(trial, lib.SS_PLAY_HOST_EMPTY)
    return ()


@check("peers.too-large")
def too_large(trial: Trial) -> Findings:
    """An answer may be larger than the buffer for it."""
    _life(trial, lib.SS_PLAY_HOST_LONG)
    return ()


@check("peers.beyond-answer")
def beyond_answer(trial: Trial) -> Findings:
    """What stands in a buffer behind an answer is nobody's: it changes nothing that is sent."""
    litter = lib.SS_PLAY_HOST_LITTER
    first, again, other = (_said(_life(trial, litter + more)) for more in (0, 0, 1))
    if first == again and first != other:
        says = next((a for a, b in zip(first, other, strict=False) if a != b), "")
        yield f"what follows an answer in its buffer goes into {says or 'what it does'}"


def _said(played: Play) -> list[str]:
    """Return what it sent, logged and answered, each with what it is."""
    names = {
        lib.SS_PLAYED_ASKED: "a message",
        lib.SS_PLAYED_LINE: "a line of its log",
        lib.SS_PLAYED_CALL: "the text of an error",
    }
    return [f"{names[p.what]}: {printable(p.words[:80])}" for p in played.played if p.what in names]
