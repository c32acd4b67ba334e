"""Every rogue can be built, and says in a sentence what is wrong with it."""

from __future__ import annotations

import pytest

from rogues import GOOD, HOSTILE_AUTHORS, Rogue, build, build_all, gallery

EVERYBODY = [*gallery(), *gallery(hostile_authors=True)]


def test_every_rogue_builds(tmp_path) -> None:
    libraries = build_all(EVERYBODY, tmp_path)
    assert len(libraries) == len(EVERYBODY)
    assert all(library.is_file() for library in libraries.values())


def test_what_is_built_is_not_built_again(tmp_path) -> None:
    good = Rogue.read(GOOD)
    library = build(good, tmp_path)
    made = library.stat()
    assert build(good, tmp_path).stat().st_mtime_ns == made.st_mtime_ns
    assert [path.name for path in tmp_path.iterdir()] == [library.name]


@pytest.mark.parametrize("rogue", EVERYBODY, ids=lambda rogue: rogue.name)
def test_a_rogue_is_small_and_says_what_is_wrong(rogue: Rogue) -> None:
    first = rogue.sentence.split()[0]  # a function's name is as it is
    assert first[0].isupper() or "_" in first or first in {"flush", "destroy"}
    assert rogue.sentence[-1] == "."
    assert rogue.sentence.count(". ") == 0
    lines = rogue.source.read_text(encoding="utf-8").splitlines()
    assert len(lines) <= 60
    assert max(map(len, lines)) <= 100
    assert bool(rogue.verdict) == (rogue.source.parent.name == HOSTILE_AUTHORS)


def test_no_two_rogues_are_the_same() -> None:
    sentences = [rogue.sentence for rogue in EVERYBODY]
    assert len(set(sentences)) == len(sentences)
