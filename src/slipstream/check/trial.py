"""One check of one library: what its function is given, and how its verdict comes about."""

from __future__ import annotations

import time
from collections.abc import Callable, Container, Iterable, Iterator
from dataclasses import dataclass, field
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

_SLOW_MACHINE = 3  # times as long all calls together may take, if none of them hangs
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
        doubts: What was to be tried, and was not.
        fallen: Plays that did not come to their end, and that the check looks at itself.
        said_retry: The plugin has answered RETRY.
    """

    subject: Subject
    check: Check
    folder: Path
    input: bytes = b""
    doubts: list[str] = field(default_factory=list)
    fallen: list[Play] = field(default_factory=list)
    said_retry: bool = False

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

    def kept(self) -> Script:
        """Return the same, before which it was kept how the process is."""
        script = self.opened()
        script.keep()
        script.construct()
        script.load(self.subject.config())
        script.subscribed()
        return script

    def constructions(self, times: int) -> Script:
        """Return a script of so many constructors, each with its destroy, and nothing else."""
        script = self.opened()
        for _ in range(times):
            script.construct()
            script.destroy()
        script.close()
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

    def play(
        self, script: Script, deadline: float = DEADLINE, *, may_refuse: bool = False,
        asides: Container[int] = (),
    ) -> Play:  # fmt: skip
        """Play a script; it has to come to its end.

        Args:
            script: The script.
            deadline: Seconds that it takes at most on a usual machine.
            may_refuse: The plugin may refuse a step, so that what stands on that is not played.
            asides: Steps at which it may end: another check asks what comes of them.

        Raises:
            FellError: It did not.
        """
        played = self._played(script, deadline)
        if not played.is_whole and played.fault.step not in asides:
            raise FellError(played)
        if played.is_whole and not may_refuse:
            self.doubts += _unplayed(played)
        return played

    def least_ms(self, script: Script, step: int, enough: float) -> float:
        """Play a script until a call of it takes no more than so many ms, at most three times.

        A machine may be busy, but not with each of them.

        Returns:
            How many ms it took at the best of times.
        """
        least = float("inf")
        for _ in range(3):
            call = self.play(script).one(lib.SS_PLAYED_CALL, step)
            least = min(least, 0.0 if call is None else call.a / 1e6)
            if least <= enough * self.subject.slow:
                break
        return least

    def attempt(
        self, script: Script, deadline: float = DEADLINE, *, wrap: tuple[str, ...] = (),
        may_refuse: bool = False,
    ) -> Play:  # fmt: skip
        """Play a script, however it ends; in another program's hands, if one is named.

        A check that finds nothing where it did not come to its end does not pass.
        """
        played = self._played(script, deadline, wrap)
        if not played.is_whole:
            self.fallen.append(played)
        if not may_refuse:
            self.doubts += _unplayed(played)
        return played

    def _played(self, script: Script, deadline: float, wrap: tuple[str, ...] = ()) -> Play:
        slow = self.subject.slow
        call = deadline if wrap else min(deadline, DEADLINE)
        played = play(script, call * slow, _SLOW_MACHINE * deadline * slow, wrap=wrap)
        calls = played.of(lib.SS_PLAYED_CALL)
        self.said_retry |= any(call.status == lib.SLIPSTREAM_RETRY for call in calls)
        return played

    def skip(self, why: str) -> NoReturn:
        """End the check without a verdict."""
        raise SkipError(why)

    def skip_if_in_use(self, played: Play, load: int | None) -> None:
        """End the check if a second on_load has answered RETRY, as with a database in use."""
        call = None if load is None else played.one(lib.SS_PLAYED_CALL, load)
        if call is not None and call.status == lib.SLIPSTREAM_RETRY:
            self.skip(
                f"with this config only one can run at a time: on_load returned {answer(call)}"
            )

    def needs_flag(self, flag: str) -> None:
        """End the check unless the plugin has a flag."""
        self._needs_exploring()
        if not self.subject.has(flag):
            self.skip(f"it has no {flag}")

    def needs_samples(self) -> None:
        """End the check unless there are events that the plugin takes."""
        self._needs_exploring()
        if not any(self.subject.samples()):
            if self.subject.formless:
                self.skip("it accepts no made-up event of its own kinds: give some with --events")
            self.skip("it subscribes to no kind of which there is a sample")

    def _needs_exploring(self) -> None:
        if self.subject.unexplored:
            raise CannotPlayError(self.subject.unexplored)

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
        """Yield the calls of on_broadcast that failed, and the events that were rejected."""
        yield from self.failures(played, *_EVENTS)
        for rejection in played.of(lib.SS_PLAYED_REJECTED):
            says = played.steps[rejection.step].says
            yield f"{says}: it rejected ordinal {rejection.a} with {answer(rejection)}"

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
        verdict = Verdict.UNTRIED if QUIRKS[excuse].is_absence else Verdict.SKIP
        findings = (reason,)
    seconds = time.monotonic() - began
    return Result(entry, verdict, findings, seconds, trial.input, said_retry=trial.said_retry)


def _made_up(fallen: Play) -> bytes:
    """Return the event that was under way, if it was made up: no check has it otherwise."""
    at = fallen.fault.step
    mutated = at < len(fallen.steps) and fallen.steps[at].what == lib.SS_PLAY_MUTATE
    return fallen.fault.input if mutated else b""


def _unplayed(played: Play) -> list[str]:
    """Return what was not played of a script, and why, if something was not."""
    unplayed = next(played.of(lib.SS_PLAYED_UNPLAYED), None)
    if unplayed is None:
        return []
    because = (
        f"; {played.steps[p.step].says} returned {answer(p)}"
        for p in played.of(lib.SS_PLAYED_CALL)
        if p.step < unplayed.step and p.status < 0
    )
    says = played.steps[unplayed.step].says or "a step"
    return [f"{says} could not be tried: {unplayed.words}{next(because, '')}"]


def _nothing_found(trial: Trial) -> tuple[Verdict, tuple[str, ...]]:
    """Pass, unless less was done than was to be done: what is not tried does not pass."""
    for fallen in trial.fallen:
        return Verdict.CRASH, (str(FellError(fallen)),)
    if trial.doubts:
        return Verdict.UNTRIED, tuple(dict.fromkeys(trial.doubts))[:_FINDINGS]
    return Verdict.PASS, ()


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
        return Verdict.UNTRIED, (str(cannot),)
    if not found:
        return _nothing_found(trial)
    more = len(found) - _FINDINGS
    shown = found if more <= 0 else [*found[:_FINDINGS], f"and {more} more"]
    return Verdict(trial.check.level), tuple(shown)
