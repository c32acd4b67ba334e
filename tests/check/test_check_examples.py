"""All that `make examples` builds is excellent, as far as the quick suite sees."""

from __future__ import annotations

import os

from slipstream.check.catalogue import catalogue
from slipstream.check.given import subject_of
from slipstream.check.report import Report
from slipstream.check.suite import explore, run_checks
from slipstream.check.trial import function_of


def test_the_examples_are_excellent(examples) -> None:
    quick = [name for name, one in catalogue().items() if one.quick and function_of(name)]
    # That of PostgreSQL needs a server: its own tests have one.
    libraries = sorted(set(examples.glob("*/*.so")) - set(examples.glob("postgres/*")))
    assert {path.stem for path in libraries} >= {"minimal", "tally", "ledger", "mailbox"}
    for library in libraries:
        report = Report(library, subject_of(library))
        explore(report.subject)
        for result in run_checks(report.subject, quick, jobs=len(os.sched_getaffinity(0))):
            report.add(result)
        assert report.findings() == []
        assert report.level == "excellent"
