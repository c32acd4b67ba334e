"""``slipstream check --fuzz`` and ``--repeat-input``: events that a plugin falls with."""

from __future__ import annotations

import json
import shlex
import time
from dataclasses import dataclass
from pathlib import Path

import click

from slipstream._platform import HAS_PROCESS_MODE
from slipstream.check.blame import blame
from slipstream.check.fuzz import Fuzzed, fuzz, repeat, save
from slipstream.check.report import CANNOT_RUN, FORM, NOT_CONFORMANT, OK
from slipstream.check.subject import Subject
from slipstream.check.suite import explore
from slipstream.errors import SlipstreamError
from slipstream.text import counted, printable

from ._check_report import wrapped
from ._errors import Ended
from ._output import emit, say

_MARGIN = 10


@dataclass(frozen=True, slots=True)
class Again:
    """What a command that does it again needs.

    Attributes:
        file: The file that was named.
        config: The config that was named, if one was.
        folder: Where events go that it crashes with.
    """

    file: Path
    config: Path | None
    folder: Path

    def command(self, *more: str) -> str:
        """Return such a command."""
        config = () if self.config is None else ("--config", str(self.config))
        return printable(shlex.join(["slipstream", "check", str(self.file), *config, *more]))

    def keep(self, data: bytes, subject: Subject) -> Path:
        """Write an event to a file."""
        try:
            return save(data, subject, self.folder)
        except OSError as error:
            raise Ended(
                f"cannot write to {self.folder}: {error.strerror}",
                "name another folder with --output",
                CANNOT_RUN,
            ) from None


def _explored(subject: Subject) -> None:
    if subject.foreign and not HAS_PROCESS_MODE:
        raise Ended(f"no verdict: {subject.foreign}", "try it on Linux", CANNOT_RUN)
    if subject.foreign:
        raise Ended(f"no verdict: {subject.foreign}", "use its build for here", CANNOT_RUN)
    explore(subject)


def fuzz_it(subject: Subject, again: Again, seconds: float, seed: int, *, as_object: bool) -> int:
    """Fuzz a plugin, and tell what came of it; return the exit code."""
    _explored(subject)
    if not as_object:
        say(f"fuzzing {again.file} for {seconds:g} s at most, seed {seed}")
    began = time.monotonic()
    try:
        done = fuzz(subject, seconds, seed)
    except SlipstreamError as error:
        raise Ended(error.message, error.hint, CANNOT_RUN) from None
    took = time.monotonic() - began
    kept = again.keep(done.input, subject) if done.input else None
    if as_object:
        emit(json.dumps(_as_json(done, again, kept, seed, took)) + "\n")
    else:
        emit("\n".join(_told(done, again, kept, seed, took)) + "\n")
    return NOT_CONFORMANT if done.finding else OK


def _repeats(again: Again, kept: Path) -> str:
    return again.command("--repeat-input", str(kept))


def _as_json(
    done: Fuzzed, again: Again, kept: Path | None, seed: int, took: float
) -> dict[str, object]:
    return {
        "form": FORM,
        "fuzz": {
            "path": printable(str(again.file)),
            "ok": not done.finding,
            "exit_code": NOT_CONFORMANT if done.finding else OK,
            "seed": seed,
            "seconds": round(took, 3),
            "tried": done.tried,
            "edges": done.edges,
            "finding": printable(done.finding) or None,
            "input": None if kept is None else str(kept),
            "repeat": None if kept is None else _repeats(again, kept),
        },
    }


def _told(done: Fuzzed, again: Again, kept: Path | None, seed: int, took: float) -> list[str]:
    guided = (
        f"{counted(done.edges, 'edge')} of its code seen, "
        f"{counted(done.kept, 'event')} kept for more"
        if done.edges is not None
        else "at random: it was not built with -fsanitize-coverage"
    )
    lines = [f"{counted(done.tried, 'event')} in {took:.1f} s, seed {seed}", guided]
    if done.finding:
        verdict = click.style(f"{'timeout' if done.timed_out else 'crash':<{_MARGIN}}", fg="red")
        lines.append(verdict + wrapped(printable(done.finding), _MARGIN)[_MARGIN:])
    else:
        lines.append(click.style("nothing was found", fg="green"))
    if kept is not None:
        lines.append(wrapped(str(kept), _MARGIN, "  input"))
        lines.append(wrapped(_repeats(again, kept), _MARGIN, "  again"))
    return lines


def repeat_kept(subject: Subject, again: Again, kept: Path, data: bytes, *, as_object: bool) -> int:
    """Give a plugin an event that was kept; return the exit code."""
    _explored(subject)
    played = repeat(subject, data)
    finding = "" if played.is_whole else blame(played)
    if as_object:
        said = {
            "path": printable(str(again.file)),
            "input": str(kept),
            "ok": not finding,
            "exit_code": NOT_CONFORMANT if finding else OK,
            "finding": printable(finding) or None,
        }
        emit(json.dumps({"form": FORM, "repeat": said}) + "\n")
    elif finding:
        verdict = click.style(f"{'timeout' if played.timed_out else 'crash':<{_MARGIN}}", fg="red")
        emit(verdict + wrapped(printable(finding), _MARGIN)[_MARGIN:] + "\n")
    else:
        emit("it survives this event; what crashed before may need those that came before it\n")
    return NOT_CONFORMANT if finding else OK
