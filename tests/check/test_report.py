"""What results come to: levels, exit codes, results that differ from time to time."""

from __future__ import annotations

from itertools import combinations
from pathlib import Path

import click
import pytest

from slipstream.check.catalogue import catalogue
from slipstream.check.report import Report, exit_code, merge
from slipstream.check.subject import Subject
from slipstream.check.verdict import Result, Verdict
from slipstream.cli._check_report import _skips

FAIL, WARN, NOTE = "events.const", "entry.cheap", "binary.relro"


def result(name: str, verdict: str, *findings: str) -> Result:
    return Result(catalogue()[name], Verdict(verdict), findings, 0.5)


def report_of(*results: Result, foreign: str = "", hidden: frozenset[str] = frozenset()) -> Report:
    subject = Subject(Path("/x/mine.so"), {}, foreign=foreign, hidden=hidden)
    made = Report(Path("mine.so"), subject)
    for one in results:
        made.add(one)
    return made


PASSED = result("binary.kind", "pass")
CASES = [
    # results, level, exit codes with --fail-on fail, warn, note
    ([PASSED], "excellent", (0, 0, 0)),
    ([PASSED, result(NOTE, "note", "x")], "good", (0, 0, 1)),
    ([PASSED, result(WARN, "warn", "x"), result(NOTE, "note", "x")], "conformant", (0, 1, 1)),
    ([PASSED, result(FAIL, "fail", "x"), result(NOTE, "note", "x")], None, (1, 1, 1)),
    ([PASSED, result(FAIL, "crash", "x")], None, (1, 1, 1)),
    ([PASSED, result(FAIL, "timeout", "x")], None, (1, 1, 1)),
    ([PASSED, result(FAIL, "skip", "x")], "excellent", (0, 0, 0)),
    ([result(FAIL, "skip", "x")], None, (3, 3, 3)),  # nothing was tried
    ([PASSED, result(FAIL, "untried", "x")], None, (3, 3, 3)),
    ([PASSED, result(FAIL, "untried", "x"), result(NOTE, "note", "x")], None, (3, 3, 1)),
    ([PASSED, result(FAIL, "broken", "x"), result(NOTE, "fail", "x")], None, (4, 4, 4)),
]


@pytest.mark.parametrize(("results", "level", "codes"), CASES)
def test_levels_and_exit_codes(results, level, codes) -> None:
    report = report_of(*results)
    assert report.level == level
    assert tuple(report.exit_code(on) for on in ("fail", "warn", "note")) == codes


@pytest.mark.parametrize("count", [1, 4, 5])
def test_a_few_that_were_skipped_are_named(count) -> None:
    names = [name for name in catalogue() if name.startswith("binary.")][:count]
    [told] = _skips(report_of(*(result(name, "skip", "no reason") for name in names)))
    words = " ".join(click.unstyle(told).split())
    named = ", ".join(names) if count < 5 else "5 checks"
    assert words == f"skipped: {named}: no reason"


def test_what_cannot_run_here_has_no_level() -> None:
    report = report_of(PASSED, foreign="nothing of it runs here: it is a Windows library (PE)")
    assert report.level is None
    assert report.exit_code("fail") == 3
    report.add(result("binary.writable-code", "fail", "x"))
    assert report.exit_code("fail") == 1


def test_the_worst_of_several_files_counts() -> None:
    ranks = [4, 1, 3, 0]
    reports = {
        0: report_of(PASSED),
        1: report_of(result(FAIL, "fail", "x")),
        3: report_of(),
        4: report_of(result(FAIL, "broken", "x")),
    }
    for one, other in combinations(ranks, 2):
        assert exit_code([reports[other], reports[one]], "fail") == one


def test_the_heaviest_comes_first() -> None:
    broken = result("entry.loads", "broken", "x")
    found = [
        result(NOTE, "note", "x"),
        PASSED,
        result(WARN, "warn", "x"),
        result(FAIL, "crash", "x"),
    ]
    verdicts = [one.verdict for one in report_of(*found, broken).findings()]
    assert verdicts == ["broken", "crash", "warn", "note"]
    report = report_of(*found)
    report.sort()
    assert [one.check.id for one in report.results] == ["binary.kind", NOTE, WARN, FAIL]


def test_a_verdict_that_changes_is_our_fault() -> None:
    same = merge([result(FAIL, "fail", "first"), result(FAIL, "fail", "second")])
    assert (same.verdict, same.findings, same.seconds) == ("fail", ("first",), 1.0)
    untried = result("binary.kind", "untried", "no memory")
    assert merge([PASSED, untried]) == untried
    assert merge([untried, result(FAIL, "fail", "it")]).verdict == "fail"
    mixed = merge([PASSED, result("binary.kind", "crash", "at 0x10"), PASSED])
    assert mixed.verdict is Verdict.BROKEN
    assert mixed.findings == ("unstable: pass 2 times, crash 1 time", "crash: at 0x10")


def test_secrets_and_control_characters_are_not_shown() -> None:
    report = report_of(
        result(FAIL, "fail", "no \x1b[31m password hunter22 for hunter2"),
        hidden=frozenset({"hunter2", "hunter22", "no"}),
    )
    assert report.results[0].findings == ("no \\x1b[31m password *** for ***",)
