"""Which tests `make mutants` runs for a line, and what the core's own traces say."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
TEXT = """LIMIT: int = 3


def first(n):
    if n > LIMIT:
        return 0
    return n
"""
TESTS = {
    "tests/a.py::broad": (0.1, {5, 6, 7}, 9_000),
    "tests/a.py::narrow[1]": (0.1, {5, 7}, 10),
    "tests/a.py::narrow[2]": (0.1, {5, 7}, 10),
    "tests/b.py::slow": (50.0, {5, 7}, 10),
    "tests/c.py::other": (0.1, {7}, 10),
}


@pytest.fixture
def measured(monkeypatch, tmp_path):
    monkeypatch.syspath_prepend(str(ROOT / "tools"))
    import mutants_measure

    (tmp_path / "code.py").write_text(TEXT)
    notes = [{"test": name, "seconds": seconds} for name, (seconds, *_) in TESTS.items()]
    lines: dict[str, dict[int, set[int]]] = {"code.py": {}}
    for number, (_, ran, _) in enumerate(TESTS.values()):
        for line in ran:
            lines["code.py"].setdefault(line, set()).add(number)
    mutants_measure.write(tmp_path / "measured", notes, lines, tmp_path)
    found = mutants_measure.Measured(tmp_path / "measured")
    for number, (name, (seconds, _, breadth)) in enumerate(TESTS.items()):
        found.tests[number] = (name, seconds, breadth)
    yield found
    found.base.close()


def test_quick_and_narrow_tests_come_first(measured) -> None:
    found = measured.choose("code.py", 5, TEXT, 60)
    assert found == [
        "tests/a.py::narrow[1]",
        "tests/a.py::narrow[2]",
        "tests/a.py::broad",
        "tests/b.py::slow",
    ]
    assert measured.choose("code.py", 5, TEXT, 0.3) == found[:2]


def test_a_line_that_moved_is_found(measured) -> None:
    assert measured.choose("code.py", 9, f"# More\n\n\n{TEXT}", 60) == ["tests/a.py::broad"]


def test_a_name_is_tested_where_it_is_used(measured) -> None:
    assert "tests/c.py::other" not in measured.choose("code.py", 1, TEXT, 60)
    assert len(measured.choose("code.py", 1, TEXT, 60)) == 4


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
