"""What each check asks of a plugin that is right, and what it hears: all of it is kept.

A check that asks less passes more, and nothing else would show that. Kept are digests, in asked.txt;
SLIPSTREAM_KEEP=1 keeps them anew, and the whole text of what fails lies where its message says: look
at what has changed before it is committed.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from matrix import subject_of

from rogues import Rogue, build, keep, kept
from slipstream._native import lib
from slipstream.check import trial
from slipstream.check.catalogue import catalogue
from slipstream.check.play import Play
from slipstream.check.subject import Subject
from slipstream.check.trial import run
from support.toolbox import output_of

pytestmark = pytest.mark.no_asan  # what is checked runs in a program of its own

ASKED = Path(__file__).with_name("asked.txt")
FULL = Path(__file__).with_name("full.c")
# Steps whose data, or whose answer, is of this machine.
_OWN_DATA = {lib.SS_PLAY_OPEN, lib.SS_PLAY_MAPPED}
_OWN_VALUE = {lib.SS_PLAY_HEAP, lib.SS_PLAY_ALLOCATIONS}


@pytest.fixture(scope="session")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(Rogue.read(FULL), tmp_path_factory.mktemp("full"))


@pytest.mark.parametrize("section", sorted({name.partition(".")[0] for name in catalogue()}))
def test_what_is_asked_is_kept(section: str, library: Path, tmp_path: Path, monkeypatch) -> None:
    values, play = Subject.values, trial.play
    plays: list[str] = []

    def noted(script, *seconds: float, **how: object) -> Play:
        played = play(script, *seconds, **how)
        plays.append(f"{seconds}{' wrapped' * bool(how.get('wrap'))}\n{as_text(played)}")
        return played

    monkeypatch.setattr(Subject, "values", lambda self: values(self) | {"libpath": "/full.so"})
    monkeypatch.setattr(trial, "play", noted)
    subject = subject_of(Rogue.read(FULL), library)
    for name in [name for name in catalogue() if name.startswith(f"{section}.")]:
        if name == "resources.valgrind" and not output_of("valgrind", "-q", "true")[0]:
            continue
        folder = tmp_path / name
        folder.mkdir()
        plays.clear()
        verdict = run(subject, name, folder).verdict
        if not plays:
            assert name not in kept(ASKED), f"{name} asks nothing any more"
            continue
        text = "".join(dict.fromkeys(plays))  # some play the same again where it took too long
        digest = hashlib.sha256(text.encode()).hexdigest()[:16]
        said = f"  {verdict}, {digest}\n"
        if os.environ.get("SLIPSTREAM_KEEP"):
            keep(ASKED, name, said)
        (folder / "asked").write_text(text)
        assert (name, said) == (name, kept(ASKED)[name]), f"what it is now: {folder}/asked"


def test_nothing_is_kept_of_what_is_no_check() -> None:
    assert kept(ASKED).keys() < catalogue().keys()


def as_text(played: Play) -> str:
    """A script and what came of it, a line each."""
    return "".join((*_asked(played), *_heard(played)))


def _asked(played: Play) -> Iterator[str]:
    for step in played.steps:
        data = b"" if step.what in _OWN_DATA else step.data
        numbers = f"{step.what} {step.slot} {step.a} {step.b} {step.c} {step.d}"
        yield f"{numbers} {hashlib.sha256(data).hexdigest()} {step.says.partition(',')[0]}\n"


def _heard(played: Play) -> Iterator[str]:
    for one in played.played:
        is_call = one.what == lib.SS_PLAYED_CALL  # its nanoseconds are its own
        values = (one.b,) if is_call else (one.a, one.b)
        if one.step < len(played.steps) and played.steps[one.step].what in _OWN_VALUE:
            values = ()
        yield f"> {one.step} {one.what} {one.status} {values} {one.text!r}\n"
