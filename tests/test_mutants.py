"""The table of `make mutants` knows tests for every file that it may change."""

from __future__ import annotations

from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


@pytest.mark.parametrize(("folder", "pattern"), [("native", "*.c"), ("src/slipstream", "*.py")])
def test_every_file_has_tests(monkeypatch, folder, pattern) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "tools"))
    import mutants

    monkeypatch.setattr(mutants, "TREE", ROOT)
    files = [str(path.relative_to(ROOT)) for path in (ROOT / folder).rglob(pattern)]
    assert len(files) > 50
    assert [file for file in files if not mutants.tests_of(file)] == []
    named = {name for names in mutants.TESTS.values() for name in names.split()}
    assert [name for name in named if not (ROOT / "tests" / name).exists()] == []
    for file, names in mutants.measured().items():
        assert (ROOT / file).exists(), f"{file} is not there any more: delete its line"
        assert [name for name in names if not (ROOT / "tests" / name).exists()] == []
