"""Each rogue is found by its own check, again and again, and the good plugin by none.

What is said of each stands in findings.txt; SLIPSTREAM_KEEP=1 keeps it anew: look at the change before
it is committed.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest
from matrix import repeated, subject_of

from rogues import GOOD, Rogue, build, gallery, keep, kept
from slipstream.check.catalogue import catalogue
from slipstream.check.suite import run_checks
from slipstream.check.trial import function_of, run
from support.toolbox import is_not_here, output_of

pytestmark = pytest.mark.no_asan  # what is checked runs in a program of its own

GALLERY = gallery()
TIMES, SECONDS = 10, 1.0  # make rogues has more patience
FINDINGS = Path(__file__).with_name("findings.txt")
# What is of this machine, this run, this Python or this build.
_OWN = [
    (r'(?<="rogue", "libpath": ).*(?=: crashed)', "..."),
    (r"/\S*/(?=[\w.-]+\.(?:so|c|o)\b)", ".../"),
    (r"at 0x[0-9a-f]+, \d+ bytes|0x[0-9a-f]{7,}", "0x..."),
    (r" \(in __run.*\)", ""),
    (r"(?<=grows by )[\d,]+", "..."),
    (r"(?<=end of the config \()\d+", "..."),  # its path is in it
    (r"(?<=descriptor )\d+", "..."),
    (r"(?<=, at most )\d+", "..."),
    (r"(?<=is not JSON: ).*", "..."),
    (r"(?<=child process )\d+|(?<=the thread )\d+", "..."),
    (r"[\d,]+(?= ms| of 8,000 were)", "..."),
    (r"(?<=libpython3\.)\d+", "..."),
    (r"(?<=\.c:)\d+", "?"),
]


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
    results = list(repeated(rogue, subject, TIMES, SECONDS))
    assert all(result.level is not None for result in results), results
    said = {shown(result.findings) for result in results}
    if os.environ.get("SLIPSTREAM_KEEP"):
        keep(FINDINGS, rogue.name, min(said))
    assert said == {kept(FINDINGS)[rogue.name]}


def shown(findings: tuple[str, ...]) -> str:
    """Findings, without what changes."""
    text = "".join(f"  {finding}\n" for finding in findings)
    for pattern, instead in _OWN:
        text = re.sub(pattern, instead, text)
    return text


def test_who_falls_at_an_event_is_found_by_one_check(folder, tmp_path) -> None:
    """Others send such an event as well, and ask something else."""
    (rogue,) = (rogue for rogue in GALLERY if rogue.name == "errors.exception")
    subject = subject_of(rogue, build(rogue, folder))
    result = run(subject, "lifecycle.second-instance", tmp_path)
    assert (result.level, result.verdict) == (None, "pass"), result.findings


@pytest.mark.parametrize("section", sorted({name.partition(".")[0] for name in catalogue()}))
def test_the_good_one_is_excellent(folder, section: str) -> None:
    good = Rogue.read(GOOD)
    subject = subject_of(good, build(good, folder))
    names = [name for name in catalogue() if name.startswith(f"{section}.")]
    results = list(run_checks(subject, names, jobs=2))
    assert [r for r in results if r.level is not None] == []
    assert {r.check.id for r in results} >= set(names)
