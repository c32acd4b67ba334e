"""The level that each example and the plugin of each language reaches.

python tests/languages/levels.py [PATTERN ...]

Runs the whole suite, half a minute for each. Exits with 1 if one falls below its level, and says
which languages have no compiler here.
"""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path

from languages import BUILDERS, PROBES, ROOT, build, run
from slipstream.check.catalogue import catalogue
from slipstream.check.given import subject_of
from slipstream.check.report import Report
from slipstream.check.suite import explore, run_checks
from slipstream.check.trial import function_of

# What a language is by its nature, and how far it gets with that.
QUIRKS = {"go": "{resident: 'the runtime of Go stays in the process that opened it'}"}
LEVELS = {"go": ("conformant", "good", "excellent")}


def report_of(library: Path, folder: Path, *, quick: bool, language: str = "") -> Report:
    """What the checks say of a library, with the quirk of its language."""
    quirks = None
    if language in QUIRKS:
        quirks = folder / f"{language}.quirks.json5"
        quirks.write_text(QUIRKS[language])
    report = Report(library, subject_of(library, quirks=quirks))
    explore(report.subject)
    names = [n for n, one in catalogue().items() if function_of(n) and (one.quick or not quick)]
    for result in run_checks(report.subject, names, jobs=len(os.sched_getaffinity(0))):
        report.add(result)
    return report


def is_reached(report: Report, language: str = "") -> bool:
    """Whether it got as far as it has to."""
    return report.level in LEVELS.get(language, ("excellent",))


def main() -> int:
    """Check them all."""
    patterns = sys.argv[1:] or [""]
    bad = 0
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        plugins = [(path, "") for path in sorted(ROOT.glob("examples/*/*.so"))]
        for language in BUILDERS:
            missing = run(*PROBES[language])
            if missing:
                print(f"{language}: no compiler here")
            elif any(pattern in f"digest-{language}.so" for pattern in patterns):
                library, trouble = build(language, folder)
                assert trouble == "", trouble
                plugins.append((library, language))
        for library, language in plugins:
            if not any(pattern in library.name for pattern in patterns):
                continue
            report = report_of(library, folder, quick=False, language=language)
            if service := report.subject.quirks.get("needs-service"):
                print(f"{library.name}: left out, it needs a service: {service}")
                continue
            bad += not is_reached(report, language)
            print(f"{library.name}: {report.level or 'not conformant'}", flush=True)
            for result in report.findings():
                print(f"  {result.verdict} {result.check.id}: {'; '.join(result.findings)}")
    return bool(bad)


if __name__ == "__main__":
    sys.exit(main())
