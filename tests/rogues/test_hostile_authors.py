"""Whatever a plugin does to the process, to its parent or to the machine, the checker ends."""

from __future__ import annotations

import pytest

from rogues import Rogue, build, gallery
from slipstream.check import play
from slipstream.check.subject import Subject
from slipstream.check.suite import explore, run_checks

pytestmark = pytest.mark.no_asan  # what is checked runs in a program of its own

FIRST = ("entry.loads", "entry.quiet-load", "entry.constructor")
LATER = "lifecycle.load-unload"


@pytest.mark.parametrize("rogue", gallery(hostile_authors=True), ids=lambda rogue: rogue.name)
def test_the_checker_ends_and_is_right(rogue: Rogue, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(play, "_MEMORY", 256 << 20)
    monkeypatch.setattr(play, "_DISK", 64 << 20)
    # Who is waited for in vain need not be waited for long.
    subject = Subject(build(rogue, tmp_path), {}, slow=0.05 if rogue.verdict == "timeout" else 1.0)
    explore(subject)
    results = {r.check.id: r for r in run_checks(subject, (*FIRST, LATER), jobs=2)}
    assert results[rogue.check].verdict == rogue.verdict, results
    before = FIRST[: FIRST.index(rogue.check)]
    assert all(results[name].verdict == "pass" for name in before), results
    if rogue.check in {"entry.loads", "entry.constructor"}:
        assert results[LATER].verdict == "skip", results
