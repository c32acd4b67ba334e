"""Each rogue is found by its own check, again and again, and the good plugin by none."""

from __future__ import annotations

import pytest
from matrix import repeated, subject_of

from rogues import GOOD, Rogue, build, gallery
from slipstream.check.catalogue import catalogue
from slipstream.check.suite import run_checks
from slipstream.check.trial import function_of, run
from support.toolbox import is_not_here, output_of

pytestmark = pytest.mark.no_asan  # what is checked runs in a program of its own

GALLERY = gallery()
TIMES, SECONDS = 10, 1.0  # make rogues has more patience


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory):
    return tmp_path_factory.mktemp("rogues")


def test_every_check_has_its_rogue_and_its_function() -> None:
    assert sorted(r.check for r in GALLERY) == sorted(catalogue())
    assert all(function_of(name) for name in catalogue())


@pytest.mark.parametrize("rogue", GALLERY, ids=lambda rogue: rogue.name)
def test_a_rogue_is_found(rogue: Rogue, folder) -> None:
    if rogue.check == "resources.valgrind" and not output_of("valgrind", "-q", "true")[0]:
        is_not_here("there is no valgrind")
    subject = subject_of(rogue, build(rogue, folder))
    assert not list(repeated(rogue, subject, TIMES, SECONDS))


def test_who_falls_at_an_event_is_found_by_one_check(folder, tmp_path) -> None:
    """Others send such an event as well, and ask something else."""
    (rogue,) = (rogue for rogue in GALLERY if rogue.name == "errors.exception")
    subject = subject_of(rogue, build(rogue, folder))
    result = run(subject, "lifecycle.second-instance", tmp_path)
    assert (result.level, result.verdict) == (None, "pass"), result.findings


def test_the_good_one_is_excellent(folder) -> None:
    good = Rogue.read(GOOD)
    subject = subject_of(good, build(good, folder))
    results = list(run_checks(subject, list(catalogue()), jobs=2))
    assert [r for r in results if r.level is not None] == []
    assert len(results) == len(catalogue())
