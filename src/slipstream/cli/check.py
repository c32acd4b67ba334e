"""``slipstream check``: does a plugin keep the contract."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from slipstream._platform import processor_count
from slipstream.check.catalogue import Level, catalogue
from slipstream.check.fuzz import load
from slipstream.check.given import events_of, subject_of
from slipstream.check.play import CannotPlayError
from slipstream.check.report import LEVELS, Report, as_json, as_junit, exit_code, merge
from slipstream.check.subject import Subject
from slipstream.check.suite import explore, run_checks
from slipstream.check.trial import function_of
from slipstream.check.verdict import Result
from slipstream.config import closest
from slipstream.errors import SlipstreamError
from slipstream.files import limit_hint

from ._check_fuzz import Again, fuzz_it, repeat_kept
from ._check_report import show_report
from ._errors import CHECKER_FAILED, NOT_STARTED, Ended
from ._output import emit, say
from ._paths import OLD_FOLDER, PATH, TEXT_PATH
from ._progress import Running, check_progress

if TYPE_CHECKING:
    from slipstream.check.catalogue import Check

DEFAULT_SEED = 1

_LONGEST = 24 * 3600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """Which checks, and how they are run."""

    names: tuple[str, ...]
    whole: bool
    quick: bool
    jobs: int
    repeat: int


def _pattern(_context: click.Context, _parameter: click.Parameter, text: str | None) -> str | None:
    try:
        re.compile(text or "")
    except re.error as error:
        raise click.BadParameter(f"{text!r} is not a regular expression: {error}") from None
    return text


def _duration(_context: click.Context, _parameter: click.Parameter, text: str) -> float:
    found = re.fullmatch(r"(\d+(?:\.\d+)?)([smh])", text)
    seconds = float(found[1]) * {"s": 1, "m": 60, "h": 3600}[found[2]] if found else 0
    if not 0 < seconds <= _LONGEST:
        raise click.BadParameter(f"{text!r} is not a time: write 90s, 10m or 2h, at most 24h")
    return seconds


@click.command(epilog="Example: slipstream check --quick ./libmine.so")
@click.argument("files", metavar="FILE...", nargs=-1, type=PATH)
@click.option("--quick", is_flag=True, help="Only the checks that take no time.")
@click.option("--only", metavar="REGEX", callback=_pattern, help="Only checks whose id matches.")
@click.option(
    "--skip", metavar="REGEX", callback=_pattern, help="Leave out checks whose id matches."
)
@click.option(
    "--config", metavar="FILE", type=PATH,
    help="What on_load gets: the plugin's own keys, or a whole config file. By default the sample "
    "config of the plugin's info.",
)  # fmt: skip
@click.option(
    "--events",
    metavar="FILE",
    type=TEXT_PATH,
    help="Events that the plugin accepts: JSON lines or a capture.",
)
@click.option(
    "--quirks",
    metavar="FILE",
    type=PATH,
    help="The quirks file, which says why the plugin is unusual.",
)
@click.option(
    "--seed", metavar="N", type=click.IntRange(0, 2**63 - 1), default=DEFAULT_SEED,
    show_default=True, help="The start of all random choices.",
)  # fmt: skip
@click.option(
    "--jobs",
    metavar="N",
    type=click.IntRange(1, 64),
    help="How many checks run at a time; by default one for each core.",
)
@click.option(
    "--repeat", metavar="N", type=click.IntRange(1), default=1,
    help="Try each check N times. If the verdict changes, the checker has failed.",
)  # fmt: skip
@click.option(
    "--fail-on", type=click.Choice(LEVELS), default=LEVELS[0], show_default=True,
    help="The lightest findings that make the exit code 1.",
)  # fmt: skip
@click.option("--fuzz", "fuzzes", is_flag=True, help="Instead: send it made-up events.")
@click.option(
    "--duration", metavar="T", callback=_duration, default="60s", show_default=True,
    help="How long --fuzz goes on: 90s, 10m, 2h.",
)  # fmt: skip
@click.option(
    "--repeat-input", metavar="FILE", type=PATH,
    help="Instead: send it an event that was kept because it crashed. The library may be left out.",
)  # fmt: skip
@click.option(
    "--output", metavar="FOLDER", type=OLD_FOLDER,
    default=".", help="Where --fuzz writes events that crash the plugin; by default here.",
)  # fmt: skip
@click.option("--json", "as_object", is_flag=True, help="Write one JSON object instead of text.")
@click.option("--junit", metavar="FILE", type=PATH, help="Write a report for CI systems, too.")
def check(  # noqa: PLR0913 - the options of the command
    *,
    files: tuple[Path, ...],
    quick: bool,
    only: str | None,
    skip: str | None,
    config: Path | None,
    events: str | None,
    quirks: Path | None,
    seed: int,
    jobs: int | None,
    repeat: int,
    fail_on: Level,
    as_object: bool,
    junit: Path | None,
    fuzzes: bool,
    duration: float,
    repeat_input: Path | None,
    output: Path,
) -> int:
    """Test whether each FILE, a plugin in any language, keeps the contract of slipstream.h.

    FILE is a library, or a config file (.json5, .json). Each check runs in a process of its own.
    Each finding names the rule that is broken, and says how to repair it. Exits with 0 if the
    plugin is conformant, 1 if not, 2 for wrong usage, 3 if it cannot be tried here, 4 if the
    checker itself failed.
    """
    data = b""
    with _no_surprise():
        with _usage():
            if repeat_input is not None:
                named, data = load(repeat_input)
                files = files or ((named,) if named is not None else ())
            if not files:
                raise click.UsageError("name a library, or a config file")
            if (fuzzes or repeat_input is not None) and len(files) > 1:
                raise click.UsageError("name one library only")
            accepted = {} if events is None else events_of(events, on_warning=say)
            subjects = [
                subject_of(file, config=config, quirks=quirks, events=accepted, seed=seed)
                for file in files
            ]
        again = Again(files[0], config, output)
        if repeat_input is not None:
            return repeat_kept(subjects[0], again, repeat_input, data, as_object=as_object)
        if fuzzes:
            return fuzz_it(subjects[0], again, duration, seed, as_object=as_object)
        wanted = _wanted(quick=quick, only=only, skip=skip, jobs=jobs, repeat=repeat)
        reports: list[Report] = []
        for file, subject in zip(files, subjects, strict=True):
            report = _run(subject, Again(file, config, output), wanted)
            reports.append(report)
            if not as_object:
                show_report(report, seed=seed, fail_on=fail_on)
        if as_object:
            answer = as_json(reports, seed=seed, quick=quick, fail_on=fail_on)
            emit(json.dumps(answer) + "\n")
        if junit is not None:
            _write(junit, as_junit(reports, seed=seed, fail_on=fail_on))
    return exit_code(reports, fail_on)


@contextmanager
def _usage() -> Iterator[None]:
    """Tell of files that were given beside the library as of wrong usage."""
    try:
        yield
    except SlipstreamError as error:
        raise click.UsageError("; ".join(filter(None, (error.message, error.hint)))) from None


@contextmanager
def _no_surprise() -> Iterator[None]:
    """Let no failure of ours look like one of the plugin."""
    try:
        yield
    except (click.ClickException, click.exceptions.Exit, SlipstreamError):
        raise
    except CannotPlayError as error:
        hint = limit_hint(getattr(error.__cause__, "errno", None))
        raise Ended(f"nothing can be run here: {error}", hint, NOT_STARTED) from None
    except Exception as error:
        raise Ended(
            f"the checker failed: {type(error).__name__}: {error}",
            limit_hint(getattr(error, "errno", None))
            or "run it again as slipstream --debug check ..., and report what it shows",
            CHECKER_FAILED,
        ) from error


def _wanted(
    *, quick: bool, only: str | None, skip: str | None, jobs: int | None, repeat: int
) -> Wanted:
    known = [one for one in catalogue().values() if function_of(one.id) is not None]
    chosen = [
        one.id
        for one in known
        if (one.quick or not quick)
        and (only is None or re.search(only, one.id))
        and (skip is None or not re.search(skip, one.id))
    ]
    if not chosen:
        near = closest(only or "", catalogue())
        raise click.UsageError(
            "no check matches"
            + (f": did you mean {near}?" if near else "; slipstream checks lists them")
        )
    return Wanted(
        names=tuple(chosen),
        whole=only is None and skip is None,
        quick=quick,
        jobs=jobs or processor_count(),
        repeat=repeat,
    )


def _run(subject: Subject, again: Again, wanted: Wanted) -> Report:
    report = Report(again.file, subject, wanted.whole)
    began = time.monotonic()
    if not subject.foreign:
        explore(subject)
    with check_progress(again.file.name, len(wanted.names) * wanted.repeat) as running:
        rounds = [list(_round(subject, wanted, running)) for _ in range(wanted.repeat)]
    for results in _by_check(rounds):
        result = merge(results)
        if result.input:
            kept = again.keep(result.input, subject)
            result = replace(result, repeat=again.command("--repeat-input", str(kept)))
        report.add(result)
    report.sort()
    report.seconds = time.monotonic() - began
    return report


def _round(subject: Subject, wanted: Wanted, running: Running) -> Iterator[Result]:
    def started(one: Check) -> None:
        if one.id in wanted.names:  # else it is what another one needs
            running.started(one.id)

    for result in run_checks(subject, wanted.names, jobs=wanted.jobs, started=started):
        running.ended(result.check.id)
        yield result


def _by_check(rounds: Sequence[Sequence[Result]]) -> Iterator[list[Result]]:
    found: dict[str, list[Result]] = {}
    for results in rounds:
        for result in results:
            found.setdefault(result.check.id, []).append(result)
    yield from found.values()


def _write(path: Path, data: bytes) -> None:
    try:
        path.write_bytes(data)
    except OSError as error:
        raise Ended(
            f"cannot write {path}: {error.strerror}", "choose another file", NOT_STARTED
        ) from None
