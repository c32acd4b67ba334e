"""What ``slipstream check`` shows to people: at most 80 columns."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

import slipstream
from slipstream.check.catalogue import rule_line
from slipstream.check.report import CANNOT_RUN, CHECKER_FAILED, OK, Report
from slipstream.check.verdict import Result, Verdict
from slipstream.text import counted, printable

from ._output import emit
from ._tables import screen_width

if TYPE_CHECKING:
    from slipstream.check.catalogue import Check, Level

WIDTH = 80

_MARGIN = 10  # columns before what belongs to a finding
_COLOURS = {
    Verdict.PASS: "green",
    Verdict.FAIL: "red",
    Verdict.CRASH: "red",
    Verdict.TIMEOUT: "red",
    Verdict.WARN: "yellow",
    Verdict.NOTE: "cyan",
    Verdict.SKIP: "bright_black",
    Verdict.UNTRIED: "magenta",
    Verdict.BROKEN: "magenta",
}
_LEVEL_COLOURS = {"conformant": "yellow", "good": "cyan", "excellent": "green", None: "red"}
_ABOVE = {
    "conformant": "conformant: nothing fails; without warnings it would be good",
    "good": "good: no failure, no warning; without notes it would be excellent",
    "excellent": "excellent: nothing was found",
}


def _width() -> int:
    return max(40, min(WIDTH, screen_width()))


def wrapped(text: str, margin: int, first: str = "") -> str:
    """Return a text in lines that fit, behind a margin; the first line has a word in it."""
    lines = textwrap.wrap(text, _width() - margin, break_on_hyphens=False) or [""]
    head = f"{first:<{margin}}"
    return "\n".join([head + lines[0], *(" " * margin + line for line in lines[1:])])


def header_place(text: str) -> str:
    """Return where the header says this: its file, as short as it may be, and the line."""
    path = Path(slipstream.get_include()) / "slipstream.h"
    try:
        shown = str(path.resolve().relative_to(Path.cwd()))
    except ValueError:
        shown = path.name
    return f"{shown}:{rule_line(text)}"


def show_report(report: Report, *, seed: int, fail_on: Level) -> None:
    """Show what was found of one library, the heaviest first, and what it comes to."""
    emit(_heading(report) + "\n")
    for result in report.findings():
        emit("\n" + "\n".join(_finding(result)) + "\n")
    emit("\n" + "\n".join(_summary(report, seed, fail_on)) + "\n\n")


def _heading(report: Report) -> str:
    table = report.subject.table
    said = f": {table.name} {table.version}" if table is not None and table.name else ""
    text = f"{printable(str(report.given))}{printable(said)}"
    return click.style(wrapped(text, 0), bold=True)


def _finding(result: Result) -> Iterator[str]:
    check = result.check
    verdict = click.style(f"{result.verdict:<{_MARGIN - 1}}", fg=_COLOURS[result.verdict])
    yield f"{verdict} {click.style(check.id, bold=True)}"
    yield wrapped(check.title, _MARGIN, "  wanted")
    for finding in result.findings:
        lines = wrapped(finding, _MARGIN + 2)
        yield " " * _MARGIN + "- " + lines[_MARGIN + 2 :]
    if result.level is not None:
        yield from rule_lines(check)
        yield wrapped(check.mend, _MARGIN, "  fix")
    if result.repeat:
        yield wrapped(result.repeat, _MARGIN, "  again")


def rule_lines(check: Check, margin: int = _MARGIN) -> Iterator[str]:
    """Yield the rules of the header that a check follows, each with its place; else why it is."""
    for text in check.rule:
        yield wrapped(f'"{text}" ({header_place(text)})', margin, "  rule")
    if not check.rule:
        yield wrapped(check.reason_of_rule, margin, "  reason")


def _summary(report: Report, seed: int, fail_on: Level) -> Iterator[str]:
    yield from _skips(report)
    for name, reason in report.subject.quirks.items():
        yield wrapped(f"quirk {name}: {printable(reason)}", 2)
    counts = ", ".join(
        click.style(f"{count} {verdict}", fg=_COLOURS[verdict])
        for verdict, count in report.counts.items()
        if count
    )
    yield f"{counts}; seed {seed}; {report.seconds:.1f} s"
    verdict = wrapped(_verdict(report, fail_on), 0)
    yield click.style(verdict, _LEVEL_COLOURS[report.level], bold=True)


def _verdict(report: Report, fail_on: Level) -> str:
    code = report.exit_code(fail_on)
    if code == CHECKER_FAILED:
        return "no verdict: the checker failed"
    count = len(report.results)
    chosen = "the one check that was chosen" if count == 1 else f"{count} checks that were chosen"
    part = "" if report.whole else f" (of {chosen})"
    if report.level is None and report.subject.foreign and not report.findings():
        return f"no verdict: {report.subject.foreign}"
    untried = report.counts[Verdict.UNTRIED]
    if report.level is None and code == CANNOT_RUN and untried:
        return f"no verdict: {untried} of {counted(count, 'check')} could not be tried{part}"
    if report.level is None:
        passed = report.counts[Verdict.PASS]
        failed = sum(result.level == "fail" for result in report.results)
        if not failed:
            return f"no verdict: {counted(passed, 'check')} passed, and the others were skipped"
        return f"not conformant: {failed} of {counted(count, 'check')} failed{part}"
    below = "" if code == OK else f", which is not enough here (--fail-on {fail_on})"
    return f"{_ABOVE[report.level]}{below}{part}"


def _skips(report: Report) -> Iterator[str]:
    """Yield why checks were skipped, and which; those for want of another are only counted."""
    reasons: dict[str, list[str]] = {}
    for result in report.results:
        if result.verdict is Verdict.SKIP:
            reasons.setdefault(result.findings[0], []).append(result.check.id)
    waiting = sum(len(ids) for why, ids in reasons.items() if why.startswith("needs "))
    for why, ids in reasons.items():
        if why.startswith("needs "):
            continue
        some = ", ".join(ids) if len(ids) <= 4 else f"{len(ids)} checks"
        yield click.style(wrapped(f"skipped: {some}: {why}", 2), dim=True)
    if waiting:
        one = "check needs another, which did not pass or was skipped"
        many = "checks need others, which did not pass or were skipped"
        said = f"skipped: {counted(waiting, one, many)}"
        yield click.style(wrapped(said, 2), dim=True)
