"""Measure which tests run which Python file, for tools/mutants.py; writes tools/mutants_tests.txt.

python -m pip install coverage; python tools/mutants_measure.py

Each file of tests runs alone under coverage, with all processes that it starts: half an hour. Of
a file's lines only those count that less than half of all tests run. The first tests are those
that run many of them, and little else, and are quick; together they take a minute at most.
"""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections import Counter, defaultdict
from pathlib import Path

import coverage
from mutants import MEASURED, ROOT, SECONDS

PATIENCE = 300  # seconds for one file of tests
START = 2.5  # seconds until pytest runs the first test, which many files share
LEFT_OUT = ("bench", "elsewhere", "fuzz", "languages", "macos", "stress", "windows")
NO_TESTS = {"test_house.py", "test_mutants.py", "test_sanitized.py", "test_start_soak.py"}
CONFIG = """[run]
source = {root}/src/slipstream
parallel = True
data_file = {folder}/data
context = ${{TESTS}}
"""

Lines = dict[str, dict[str, set[int]]]
"""Of each file: the lines that each file of tests runs."""


def run_all(folder: Path) -> dict[str, float]:
    """Run each file of tests; return how many seconds each took."""
    config = folder / "config"
    config.write_text(CONFIG.format(root=ROOT, folder=folder))
    environment = {**os.environ, "COVERAGE_PROCESS_START": str(config)}
    seconds = {}
    for path in sorted((ROOT / "tests").rglob("test_*.py")):
        name = str(path.relative_to(ROOT / "tests"))
        if name.startswith(LEFT_OUT) or path.name in NO_TESTS:
            continue
        command = [sys.executable, "-m", "pytest", "-q", "-n2", "-m", "not slow", "--tb=no"]
        start = time.monotonic()
        try:
            subprocess.run(
                [*command, "-p", "no:cacheprovider", path],
                cwd=ROOT,
                env={**environment, "TESTS": name},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                timeout=PATIENCE,
                check=False,
            )
        except subprocess.TimeoutExpired:
            continue
        seconds[name] = time.monotonic() - start
        print(f"{seconds[name]:5.0f} s {name}", flush=True)
    return seconds


def lines_run(folder: Path) -> Lines:
    """Return what was run, without what nearly every test runs."""
    found: Lines = defaultdict(lambda: defaultdict(set))
    names: set[str] = set()
    for part in folder.glob("data.*"):
        data = coverage.CoverageData(basename=str(part))
        try:
            data.read()
        except coverage.CoverageException:  # of a process that was killed
            continue
        for file in data.measured_files():
            for number, contexts in data.contexts_by_lineno(file).items():
                for name in filter(None, contexts):
                    found[str(Path(file).relative_to(ROOT))][name].add(number)
                    names.add(name)
    for tests in found.values():
        often = Counter(number for numbers in tests.values() for number in numbers)
        for numbers in tests.values():
            numbers -= {number for number in numbers if 2 * often[number] > len(names)}
    return found


def chosen(
    tests: dict[str, set[int]], everywhere: Counter[str], took: dict[str, float]
) -> list[str]:
    """Return the tests of one file, the best first."""
    seen: Counter[int] = Counter()
    rest, names, used = {name for name in tests if tests[name]} & took.keys(), [], 0.0

    def worth(name: str) -> tuple[float, str]:
        new = sum(1 / (1 + 2 * seen[number]) for number in tests[name])
        own = 0.3 + len(tests[name]) / everywhere[name]
        return new * own / (3 + took[name]) ** 0.5, name

    while rest:
        name = max(rest, key=worth)
        rest.remove(name)
        if used + max(took[name] - START, 1) <= SECONDS:
            used += max(took[name] - START, 1)
            names.append(name)
            seen.update(tests[name])
    return names


def main() -> None:
    """Measure, and write the file."""
    hook = Path(sysconfig.get_paths()["purelib"]) / "measured.pth"
    with tempfile.TemporaryDirectory() as place:
        hook.write_text("import coverage; coverage.process_startup()\n")
        try:
            took = run_all(Path(place))
        finally:
            hook.unlink()
        found = lines_run(Path(place))
    write(found, took)


def write(found: Lines, took: dict[str, float]) -> None:
    """Write a line for each file."""
    everywhere: Counter[str] = Counter()
    for tests in found.values():
        everywhere.update({name: len(numbers) for name, numbers in tests.items()})
    lines = [f"{file}: {' '.join(chosen(found[file], everywhere, took))}" for file in sorted(found)]
    text = "# Which tests run a file most, the best first: made by tools/mutants_measure.py.\n"
    MEASURED.write_text(text + "".join(f"{line}\n" for line in lines if not line.endswith(": ")))


if __name__ == "__main__":
    main()
