"""Plugins as people write them who have read the header alone: the checker is right about each.

Each was once judged wrongly: the lawful ones were not conformant, what is wrong with the others was
not seen.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from slipstream.check.subject import Subject
from slipstream.check.suite import explore, run_checks

pytestmark = pytest.mark.no_asan  # what is checked runs in a program of its own

# Strangers do not compile with all warnings as errors.
FLAGS = ("-pthread", "-D_GNU_SOURCE", "-Wno-error")
STRANGERS = Path(__file__).with_name("strangers")
FAILED = {
    "rejects": "subscriptions.accepted",
    "last_host": "lifecycle.second-instance",
    "keeps_delivery": "events.delivery-end",
    "old_friend": "entry.newer-host",
}
LAWFUL = {"one_only": "lifecycle.second-instance", "writer": "contract.panic"}


def verdicts(name: str, check: str, compile_plugin) -> dict[str, str]:
    source = (STRANGERS / f"{name}.c").read_text()
    library = compile_plugin(source, *FLAGS, name=name)
    subject = Subject(library, {})
    explore(subject)
    return {r.check.id: r.verdict for r in run_checks(subject, (check,), jobs=2)}


@pytest.mark.parametrize(("name", "check"), FAILED.items())
def test_what_is_wrong_is_seen(name: str, check: str, compile_plugin) -> None:
    found = verdicts(name, check, compile_plugin)
    assert found.pop(check) in {"fail", "crash"}
    assert set(found.values()) <= {"pass"}, found


@pytest.mark.parametrize(("name", "check"), LAWFUL.items())
def test_what_is_lawful_passes(name: str, check: str, compile_plugin) -> None:
    found = verdicts(name, check, compile_plugin)
    assert set(found.values()) <= {"pass", "skip"}, found


def test_events_of_an_applications_own_form_are_not_made_up(examples) -> None:
    subject = Subject(examples / "host-image" / "filter.so", {})
    explore(subject)
    assert subject.formless == {32}
    names = (
        "subscriptions.accepted",
        "subscriptions.unsubscribed",
        "events.alignment",
        "contract.first-ordinal",
    )
    results = {r.check.id: r for r in run_checks(subject, names, jobs=2)}
    assert {r.verdict for r in results.values()} <= {"pass", "skip"}, results
    assert "--events" in results["subscriptions.accepted"].findings[0]
