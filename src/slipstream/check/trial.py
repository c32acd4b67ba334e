"""One check of one library: what its function is given, and how its verdict comes about."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from slipstream import _native
from slipstream._native import lib
from slipstream.check.blame import blame
from slipstream.check.catalogue import Check, catalogue
from slipstream.check.play import CannotPlayError, Play, Played, play
from slipstream.check.script import Script
from slipstream.check.subject import QUIRKS, Subject, Table, table_of
from slipstream.check.verdict import Result, Verdict

DEADLINE = 20.0
"""Seconds that a play may take, unless it says otherwise."""

_FINDINGS = 5  # of one check that are told

Findings = Iterable[str]
CheckFunction = Callable[["Trial"], Findings]

_FUNCTIONS: dict[str, CheckFunction] = {}


def check(name: str) -> Callable[[CheckFunction], CheckFunction]:
    """Make a function the check of this id, which stands in the catalogue.

    It yields what is wrong, a line each; what it yields nothing for is right. It may also raise
    `SkipError`, and lets `FellError` through where a play is not whole.
    """

    def register(function: CheckFunction) -> CheckFunction:
        _FUNCTIONS[name] = function
        return function

    return register


def function_of(name: str) -> CheckFunction | None:
    """Return the function of a check, None if it has none."""
    return _FUNCTIONS.get(name)


class SkipError(Exception):
    """The check says nothing of this plugin; why, is the text."""


class FellError(Exception):
    """A play did not come to its end.

    Attributes:
        play: The play.
    """

    def __init__(self, fallen: Play) -> None:
        """Take the play, and blame the plugin for it."""
        super().__init__(blame(fallen))
        self.play = fallen


@dataclass(slots=True)
class Trial:
    """A check that is under way.

    Attributes:
        subject: The library.
        check: Which check it is.
        folder: For what the check itself writes.
        input: The event that the plugin fell with, where it was made up.
    """

    subject: Subject
    check: Check
    folder: Path
    input: bytes = b""

    # ---- Scripts ---------------------------------------------------------------------------

    def opened(self) -> Script:
        """Return a script that opens the library."""
        script = Script()
        script.open(self.subject.path)
        return script

    def constructed(self, host: int = 0) -> Script:
        """Return a script that opens the library and constructs the plugin."""
        script = self.opened()
        script.construct(host=host)
        return script

    def loaded(self, host: int = 0) -> Script:
        """Return a script after which the plugin is loaded, with its own config."""
        script = self.constructed(host)
        script.load(self.subject.config())
        script.subscribed()
        return script

    def send(self, script: Script) -> None:
        """Add an event of each kind that the plugin gets."""
        for at, frame in enumerate(self.subject.samples(), 1):
            script.deliver(frame, ordinal=at)

    def end(self, script: Script) -> None:
        """Add what ends a plugin that is loaded: unload, destroy, close."""
        script.unload()
        script.destroy()
        script.close()

    # ---- Playing ---------------------------------------------------------------------------

    def play(self, script: Script, deadline: float = DEADLINE) -> Play:
        """Play a script; it has to come to its end.

        Raises:
            FellError: It did not.
        """
        played = self.attempt(script, deadline)
        if not played.is_whole:
            raise FellError(played)
        return played

    def attempt(
        self, script: Script, deadline: float = DEADLINE, wrap: tuple[str, ...] = ()
    ) -> Play:
        """Play a script, however it ends; in another program's hands, if one is named."""
        played = play(script, deadline * self.subject.slow, wrap=wrap)
        unplayed = next(played.of(lib.SS_PLAYED_UNPLAYED), None)
        if unplayed is not None and not played.said_end and played.exit_code is not None:
            raise CannotPlayError(unplayed.words)
        return played

    def skip(self, why: str) -> NoReturn:
        """End the check without a verdict."""
        raise SkipError(why)

    def needs_flag(self, flag: str) -> None:
        """End the check unless the plugin has a flag."""
        if not self.subject.has(flag):
            self.skip(f"it has no {flag}")

    def needs_samples(self) -> None:
        """End the check unless there are events that the plugin takes."""
        if not any(self.subject.samples()):
            self.skip("it subscribes to no kind of which there is a sample")

    # ---- Judging ---------------------------------------------------------------------------

    def failures(self, played: Play, *what: int) -> Iterator[str]:
        """Yield the calls that did not answer OK, of steps of these sorts (all by default)."""
        for call in played.of(lib.SS_PLAYED_CALL):
            step = played.steps[call.step]
            if what and step.what not in what:
                continue
            fine = _FINE if step.what in _EVENTS else (lib.SLIPSTREAM_OK,)
            if call.status not in fine:
                yield f"{step.says} returned {answer(call)}"

    def event_failures(self, played: Play) -> Iterator[str]:
        """Yield the calls of on_broadcast that were answered with a failure."""
        return self.failures(played, *_EVENTS)

    def not_whole_life(self, played: Play) -> Iterator[str]:
        """Yield the calls but on_broadcast that did not answer OK."""
        return self.failures(
            played, lib.SS_PLAY_OPEN, lib.SS_PLAY_CONSTRUCT, lib.SS_PLAY_LOAD, lib.SS_PLAY_FLUSH,
            lib.SS_PLAY_UNLOAD, lib.SS_PLAY_DESTROY,
        )  # fmt: skip

    def changes(self, played: Play, *parts: int) -> Iterator[str]:
        """Yield what of the process was changed."""
        for change in played.of(lib.SS_PLAYED_CHANGE):
            if change.a in parts:
                yield change.words


_EVENTS = (lib.SS_PLAY_DELIVER, lib.SS_PLAY_CONCURRENT)
# What an event may be answered with. Whether one that is wanted again is ever taken is looked at
# by a check of its own.
_FINE = (
    lib.SLIPSTREAM_OK, lib.SLIPSTREAM_IGNORED, lib.SLIPSTREAM_RETRY, lib.SLIPSTREAM_NO_MEMORY,
    lib.SLIPSTREAM_TIMEOUT,
)  # fmt: skip


def answer(call: Played) -> str:
    """Return what a call answered, with the plugin's own text."""
    name = _native.status_name(call.status)
    return f"{name}: {call.words}" if call.text else f"{name}, without a text"


def tables(played: Play) -> list[Table]:
    """Return the tables that a play has seen, in its order."""
    return [table_of(p.text) for p in played.of(lib.SS_PLAYED_TABLE)]


def run(subject: Subject, name: str, folder: Path) -> Result:
    """Run one check.

    Args:
        subject: The library.
        name: The check's id.
        folder: For what it writes.
    """
    entry = catalogue()[name]
    function = _FUNCTIONS[name]
    trial = Trial(subject, entry, folder)
    began = time.monotonic()
    verdict, findings = _verdict(trial, function)
    excuse = next((q for q in subject.quirks if name in QUIRKS[q].excuses), None)
    if excuse is not None and verdict in {Verdict.FAIL, Verdict.WARN, Verdict.NOTE}:
        reason = f"quirk {excuse} ({subject.quirks[excuse]}): {findings[0]}"
        verdict, findings = Verdict.SKIP, (reason,)
    return Result(entry, verdict, findings, time.monotonic() - began, trial.input)


def _made_up(fallen: Play) -> bytes:
    """Return the event that was under way, if it was made up: no check has it otherwise."""
    at = fallen.fault.step
    mutated = at < len(fallen.steps) and fallen.steps[at].what == lib.SS_PLAY_MUTATE
    return fallen.fault.input if mutated else b""


def _verdict(trial: Trial, function: CheckFunction) -> tuple[Verdict, tuple[str, ...]]:
    found: list[str] = []
    try:
        for finding in function(trial):
            if finding not in found:
                found.append(finding)
    except SkipError as skip:
        return Verdict.SKIP, (str(skip),)
    except FellError as fell:
        sort = Verdict.TIMEOUT if fell.play.timed_out else Verdict.CRASH
        trial.input = _made_up(fell.play)
        return sort, (*found[: _FINDINGS - 1], str(fell))
    except CannotPlayError as cannot:
        return Verdict.BROKEN, (str(cannot),)
    if not found:
        return Verdict.PASS, ()
    more = len(found) - _FINDINGS
    shown = found if more <= 0 else [*found[:_FINDINGS], f"and {more} more"]
    return Verdict(trial.check.level), tuple(shown)
