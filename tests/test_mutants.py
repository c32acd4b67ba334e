"""Which tests `make mutants` runs for a line, and what the core's own traces say."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
TEXT = """LIMIT: int = 3


def first(
    n,
):
    if n > LIMIT:
        return 0
    return n
"""
TESTS = {
    "tests/a.py::broad": (0.1, {7, 8, 9}, 9_000),
    "tests/a.py::narrow[1]": (0.1, {7, 9}, 10),
    "tests/a.py::narrow[2]": (0.1, {7, 9}, 10),
    "tests/b.py::slow": (50.0, {7, 9}, 10),
    "tests/c.py::other": (0.1, {9}, 10),
}


@pytest.fixture
def base(monkeypatch, tmp_path) -> Iterator[sqlite3.Connection]:
    """What was measured, of a file that lies in a folder."""
    monkeypatch.syspath_prepend(str(ROOT / "tools"))
    import mutants_measure

    (tmp_path / "code.py").write_text(TEXT)
    with contextlib.closing(sqlite3.connect(tmp_path / "measured")) as base:
        base.executescript(mutants_measure.TABLES)
        mutants_measure.add(base, *ran(TESTS), tmp_path)
        yield base


def ran(
    tests: dict[str, tuple[float, set[int], int]], first: int = 0
) -> tuple[list[dict[str, object]], dict[str, dict[int, set[int]]]]:
    """The notes of tests, and the lines that they ran."""
    notes: list[dict[str, object]] = []
    lines: dict[int, set[int]] = {}
    for number, (name, (seconds, at, _)) in enumerate(tests.items(), first):
        notes.append({"number": number, "test": name, "seconds": seconds})
        for line in at:
            lines.setdefault(line, set()).add(number)
    return notes, {"code.py": lines}


@pytest.fixture
def measured(base, tmp_path):
    import mutants_measure

    found = mutants_measure.Measured(tmp_path / "measured")
    for number, (name, (seconds, _, breadth)) in enumerate(TESTS.items()):
        found.tests[number] = (name, seconds, breadth)
    with contextlib.closing(found.base):
        yield found


def test_quick_and_narrow_tests_come_first(measured) -> None:
    found = measured.choose("code.py", 7, TEXT, 60)
    assert found == [
        "tests/a.py::narrow[1]",
        "tests/a.py::narrow[2]",
        "tests/a.py::broad",
        "tests/b.py::slow",
        "tests/c.py::other",  # which runs another line of the file
    ]
    assert measured.choose("code.py", 7, TEXT, 0.3) == found[:2]


def test_a_line_that_moved_is_found(measured) -> None:
    assert measured.choose("code.py", 11, f"# More\n\n\n{TEXT}", 60)[0] == "tests/a.py::broad"


def test_what_is_new_is_added(base, tmp_path) -> None:
    import mutants_measure

    (tmp_path / "code.py").write_text(f"# More\n{TEXT}")  # since the others were measured
    new = {"tests/d.py::new": (0.1, {9}, 0), "tests/d.py::other": (0.1, {10}, 0)}
    mutants_measure.add(base, *ran(new, len(TESTS)), tmp_path)
    found = mutants_measure.Measured(tmp_path / "measured")
    with contextlib.closing(found.base):
        for text, line in ((TEXT, 8), (f"# More\n{TEXT}", 9), (f"# Less\n\n{TEXT}", 10)):
            chosen = found.choose("code.py", line, text, 60)
            assert sorted(chosen[:2]) == ["tests/a.py::broad", "tests/d.py::new"]


def test_what_is_gone_is_not_chosen(base, tmp_path) -> None:
    import mutants_measure

    with base:
        base.execute("UPDATE test SET name = NULL WHERE name LIKE '%narrow%'")
    found = mutants_measure.Measured(tmp_path / "measured")
    with contextlib.closing(found.base):
        assert len(found.choose("code.py", 7, TEXT, 60)) == 3


def test_a_name_is_tested_where_it_is_used(measured) -> None:
    assert "tests/c.py::other" not in measured.choose("code.py", 1, TEXT, 60)[:4]


def test_blocks_that_run_are_told(tmp_path) -> None:
    """The compiler of the mutants, and what it links in: of two branches one is seen."""
    trace = tmp_path / "trace.o"
    source = tmp_path / "main.c"
    source.write_text(
        "int main(int n, char **s) {\n  if (n > 1)\n    return 5;\n  return *s == 0;\n}"
    )
    compiled = ["gcc", "-O2", "-fPIC", "-c", "-o", trace, ROOT / "tools" / "mutants_trace.c"]
    subprocess.run(compiled, check=True)
    compiler, environment = ROOT / "tools" / "mutants_cc.sh", {**os.environ, "TRACE": str(tmp_path)}
    for command in (["-g", "-O0", "-c", "-o", "main.o", source], ["-o", "main", "main.o"]):
        subprocess.run([compiler, *command], check=True, cwd=tmp_path, env=environment)
    folder = tmp_path / "ran"
    folder.mkdir()
    program = tmp_path / "main"
    assert subprocess.run([program], check=False, env={"LC_RAN": str(folder)}).returncode == 0
    ran = (folder / str(program).replace("/", "~")).read_bytes()
    places = "".join(f"{at - 1:x}\n" for at, byte in enumerate(ran) if byte)
    command = ["addr2line", "-e", program]
    told = subprocess.run(command, check=True, input=places, capture_output=True, text=True).stdout
    lines = {line.partition(" ")[0].rpartition(":")[2] for line in told.splitlines()}
    assert "4" in lines
    assert "3" not in lines
