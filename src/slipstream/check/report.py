"""What the checks of a library came to, as a whole and as programs read it."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET

from slipstream import __version__
from slipstream._native import lib
from slipstream.check.catalogue import catalogue, rule_line
from slipstream.check.verdict import NO_VERDICT, Result, Verdict, level_of
from slipstream.text import counted, printable

if TYPE_CHECKING:
    from slipstream.check.catalogue import Check, Level
    from slipstream.check.subject import Subject

LEVELS: tuple[Level, ...] = ("fail", "warn", "note")
"""How much findings weigh, the heaviest first."""

OK, NOT_CONFORMANT, CANNOT_RUN, CHECKER_FAILED = 0, 1, 3, 4
"""What the command exits with."""

FORM = 1
"""Of the JSON; it grows by keys, and this is raised if one changes its meaning."""


@dataclass(slots=True)
class Report:
    """What the checks of one library came to.

    Attributes:
        given: The file that was named: a library, or a config.
        subject: What was checked.
        chosen: The ids of the checks that were wanted, and of all that there are how many.
        whole: The suite was not narrowed down by --only or --skip.
        results: What they found.
        seconds: How long all took.
    """

    given: Path
    subject: Subject
    whole: bool = True
    results: list[Result] = field(default_factory=list)
    seconds: float = 0.0

    def add(self, result: Result) -> None:
        """Take what a check has found; secrets in it are masked."""
        hidden = sorted(self.subject.hidden, key=len, reverse=True)

        def shown(text: str) -> str:
            for secret in hidden:
                if len(secret) >= 4:
                    text = text.replace(secret, "***")
            return printable(text)

        self.results.append(replace(result, findings=tuple(map(shown, result.findings))))

    def sort(self) -> None:
        """Bring the results into the order of the catalogue, whichever ended first."""
        order = {name: at for at, name in enumerate(catalogue())}
        self.results.sort(key=lambda result: order[result.check.id])

    @property
    def counts(self) -> dict[Verdict, int]:
        """How many checks ended how."""
        found = Counter(result.verdict for result in self.results)
        return {verdict: found[verdict] for verdict in Verdict}

    @property
    def level(self) -> str | None:
        """The level that was reached; None: it is not conformant, or that cannot be told here."""
        return None if self.subject.foreign else level_of(self.results)

    def findings(self) -> list[Result]:
        """Return what was found, the heaviest first; where there is no verdict before all."""
        ranks = {None: 0} | {level: at for at, level in enumerate(LEVELS, 1)}
        found = [r for r in self.results if r.level or r.verdict in NO_VERDICT]
        return sorted(found, key=lambda result: ranks[result.level])

    def exit_code(self, fail_on: Level) -> int:
        """Return what the command exits with for this library alone."""
        counting = LEVELS[: LEVELS.index(fail_on) + 1]
        if self.counts[Verdict.BROKEN]:
            return CHECKER_FAILED
        if any(result.level in counting for result in self.results):
            return NOT_CONFORMANT
        if self.subject.foreign or self.counts[Verdict.UNTRIED]:
            return CANNOT_RUN
        if self.counts[Verdict.SKIP] == len(self.results):
            return CANNOT_RUN
        return OK


def exit_code(reports: Sequence[Report], fail_on: Level) -> int:
    """Return what the command exits with: the worst of all."""
    worst = (CHECKER_FAILED, NOT_CONFORMANT, CANNOT_RUN, OK)
    codes = {report.exit_code(fail_on) for report in reports}
    return next(code for code in worst if code in codes)


def merge(rounds: Iterable[Result]) -> Result:
    """Make one result of those of the same check, tried several times.

    Verdicts that differ say nothing of the plugin: the check is unstable, which is our fault; but
    where it could not be tried at one time, what was found at the others stands.
    """
    results = list(rounds)
    first = results[0]
    verdicts = Counter(result.verdict for result in results)
    untried = next((r for r in results if r.verdict is Verdict.UNTRIED), None)
    if untried is not None and len(verdicts) > 1:
        told = merge(r for r in results if r.verdict is not Verdict.UNTRIED)
        return told if told.level else untried
    seconds = sum(result.seconds for result in results)
    if len(verdicts) == 1:
        return replace(first, seconds=seconds)
    said = ", ".join(
        f"{verdict} {counted(count, 'time')}" for verdict, count in verdicts.most_common()
    )
    examples = [f"{r.verdict}: {r.findings[0]}" for r in results if r.findings][:2]
    return Result(first.check, Verdict.BROKEN, (f"unstable: {said}", *examples), seconds)


# ---- JSON --------------------------------------------------------------------------------------


def rules_of(check: Check) -> list[dict[str, object]]:
    """Return the rules of the header that a check follows, with their lines."""
    return [{"text": text, "line": rule_line(text)} for text in check.rule]


def as_json(reports: Sequence[Report], *, seed: int, quick: bool, fail_on: Level) -> object:
    """Return all as one JSON object, which ``docs/schemas/check.schema.json`` describes."""
    code = exit_code(reports, fail_on)
    return {
        "form": FORM,
        "slipstream": __version__,
        "abi": f"{lib.SLIPSTREAM_ABI_MAJOR}.{lib.SLIPSTREAM_ABI_MINOR}",
        "seed": seed,
        "suite": "quick" if quick else "full",
        "fail_on": fail_on,
        "ok": code == OK,
        "exit_code": code,
        "files": [_file_as_json(report, fail_on) for report in reports],
    }


def _file_as_json(report: Report, fail_on: Level) -> dict[str, object]:
    subject = report.subject
    return {
        "path": printable(str(report.given)),
        "library": printable(str(subject.path)),
        "name": None if subject.table is None else printable(subject.table.name),
        "version": None if subject.table is None else printable(subject.table.version),
        "foreign": subject.foreign or None,
        "level": report.level,
        "whole": report.whole,
        "exit_code": report.exit_code(fail_on),
        "seconds": round(report.seconds, 3),
        "quirks": dict(subject.quirks),
        "counts": dict(report.counts),
        "checks": [_result_as_json(result) for result in report.results],
    }


def _result_as_json(result: Result) -> dict[str, object]:
    check = result.check
    said: dict[str, object] = {
        "id": check.id,
        "severity": check.level,
        "verdict": str(result.verdict),
        "findings": list(result.findings),
        "seconds": round(result.seconds, 3),
    }
    if result.level is not None:
        said |= {"title": check.title, "rules": rules_of(check), "mend": check.mend}
    if result.repeat:
        said["repeat"] = result.repeat
    return said


def check_as_json(check: Check) -> dict[str, object]:
    """Return a check itself, as ``slipstream checks --json`` tells of it."""
    return {
        "id": check.id,
        "section": check.id.partition(".")[0],
        "severity": check.level,
        "quick": check.quick,
        "needs": list(check.needs),
        "title": check.title,
        "rules": rules_of(check),
        "reason_of_rule": check.reason_of_rule,
        "why": check.why,
        "mend": check.mend,
        "example": check.example,
    }


# ---- JUnit -------------------------------------------------------------------------------------


def as_junit(reports: Sequence[Report], *, seed: int, fail_on: Level) -> bytes:
    """Return all as JUnit's XML, which ``docs/schemas/junit.xsd`` describes."""
    counting = LEVELS[: LEVELS.index(fail_on) + 1]
    root = ET.Element("testsuites", name="slipstream check")
    now = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime())
    totals: Counter[str] = Counter()
    for report in reports:
        suite = ET.SubElement(root, "testsuite", name=_xml(str(report.given)), timestamp=now)
        properties = ET.SubElement(suite, "properties")
        said = {"seed": str(seed), "level": report.level or "none", **report.subject.quirks}
        for name, value in said.items():
            ET.SubElement(properties, "property", name=name, value=_xml(value))
        count: Counter[str] = Counter(tests=0, failures=0, errors=0, skipped=0)
        for result in report.results:
            count.update({"tests": 1, _add_case(suite, result, counting): 1})
        for name in ("tests", "failures", "errors", "skipped"):
            suite.set(name, str(count[name]))
        suite.set("time", f"{report.seconds:.3f}")
        totals += count
    for name in ("tests", "failures", "errors", "skipped"):
        root.set(name, str(totals[name]))
    root.set("time", f"{sum(report.seconds for report in reports):.3f}")
    ET.indent(root)
    text: bytes = ET.tostring(root, encoding="utf-8", xml_declaration=True)
    return text + b"\n"


def _add_case(suite: ET.Element, result: Result, counting: Sequence[Level]) -> str:
    """Add a check; return the count that it belongs to."""
    check = result.check
    section = check.id.partition(".")[0]
    case = ET.SubElement(
        suite, "testcase", classname=section, name=check.id, time=f"{result.seconds:.3f}"
    )
    text = "\n".join(map(_xml, result.findings))
    first = _xml(result.findings[0]) if result.findings else ""
    if result.verdict is Verdict.SKIP:
        ET.SubElement(case, "skipped", message=first)
        return "skipped"
    if result.verdict in NO_VERDICT:
        ET.SubElement(case, "error", type=str(result.verdict), message=first).text = text
        return "errors"
    if result.level is None:
        return ""
    told = f"{text}\n\nfix: {_xml(check.mend)}"
    if result.level in counting:
        failure = ET.SubElement(case, "failure", type=str(result.verdict), message=first)
        failure.text = told
        return "failures"
    ET.SubElement(case, "system-out").text = f"{result.verdict}: {told}"
    return ""


def _xml(text: str) -> str:
    """Return a text of characters that XML 1.0 has."""
    return "".join(c if c >= " " and c not in "\ufffe\uffff" else " " for c in printable(text))
