"""Which tests run which line, measured for tools/mutants.py: once, in half an hour.

Each test of the copy in build/mutants runs with all processes that it starts: Python's lines are
found by coverage.py, the core's blocks by tools/mutants_trace.c. This file is pytest's plugin for
that, too. The result is build/mutants/measured.sqlite: what is not yet in it is added, and a line
that moved since is found again.
"""

from __future__ import annotations

import ast
import contextlib
import difflib
import json
import os
import re
import shutil
import sqlite3
import subprocess
import time
from bisect import bisect_right
from collections import Counter, defaultdict
from collections.abc import Generator
from heapq import heapify, heappop, heappush
from pathlib import Path
from typing import Any

import coverage
import pytest

LEFT_OUT = ("bench", "elsewhere", "fuzz", "languages", "macos", "stress", "windows")
ALONE = {"test_house.py", "test_mutants.py", "test_sanitized.py", "test_start_soak.py"}
FOLDER = "MUTANTS_MEASURED"  # the variable that names where the plugin writes
TEST_SECONDS = 120
# One has the functions by which blocks are told, for plugins; of the other a copy is loaded, which
# is gone then. The only user stands in for each.
NOT_TRACED = {
    "native/check/coverage.c": "native/check/fuzz.c",
    "native/check/noop.c": "src/slipstream/check/bench.py",
}
OVERHEAD = 0.15  # seconds that each test takes besides
CONFIG = """[run]
source = {tree}/src/slipstream
parallel = True
patch = _exit
data_file = {folder}/data
context = ${{MUTANTS_TEST}}
"""
HOOK = """import os; os.environ.get("COVERAGE_PROCESS_START") and \
__import__("coverage").process_startup()
"""
TABLES = """
CREATE TABLE IF NOT EXISTS test (id INTEGER PRIMARY KEY, name TEXT, seconds REAL, breadth INTEGER);
CREATE TABLE IF NOT EXISTS file (name TEXT PRIMARY KEY, text TEXT);
CREATE TABLE IF NOT EXISTS line (file TEXT, number INTEGER, tests BLOB, PRIMARY KEY (file, number));
"""

Lines = dict[str, dict[int, set[int]]]
"""Of each file, of each line: the tests that run it."""


# ---- The plugin of pytest's ------------------------------------------------------------


class Watch:
    """Notes for each test how long it took and which blocks of the core ran."""

    def __init__(self, folder: Path) -> None:
        self.blocks = folder / "blocks" / os.environ.get("PYTEST_XDIST_WORKER", "main")
        self.blocks.mkdir(parents=True, exist_ok=True)
        os.environ["LC_RAN"] = str(self.blocks)
        notes = folder / f"notes-{self.blocks.name}.json"
        self.notes = notes.open("a", encoding="utf-8")
        self.passes = True

    def take(self) -> dict[str, list[int]]:
        """Return the blocks that ran since the last time, of each program, and forget them."""
        found = {}
        for path in self.blocks.iterdir():
            with path.open("r+b") as file:
                offsets = [match.start() for match in re.finditer(b"[^\0]", file.read())]
                for offset in offsets:
                    file.seek(offset)
                    file.write(b"\0")
            found[path.name] = offsets
        return found

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Generator[None, Any, Any]:
        """Let one test run under its name."""
        os.environ["MUTANTS_TEST"] = item.nodeid
        if measuring := coverage.Coverage.current():
            measuring.switch_context(item.nodeid)
        self.take()
        self.passes, start = True, time.monotonic()
        result = yield
        note = {"test": item.nodeid, "seconds": time.monotonic() - start, "blocks": self.take()}
        if self.passes:
            print(json.dumps(note), file=self.notes, flush=True)
        return result

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Leave out what fails without a mutant."""
        self.passes = self.passes and not report.failed

    def pytest_sessionfinish(self) -> None:
        """Write what Python ran: the process may be ended without a word."""
        if measuring := coverage.Coverage.current():
            measuring.stop()
            measuring.save()


# Before anything imports the core: pytest asks for this file first.
_watch = Watch(Path(os.environ[FOLDER])) if FOLDER in os.environ else None


def pytest_configure(config: pytest.Config) -> None:
    """Watch where tests run, which with xdist is not the first process."""
    if _watch:
        config.pluginmanager.register(_watch)


# ---- Measuring -------------------------------------------------------------------------


def measure(tree: Path, python: Path, result: Path) -> None:
    """Run the tests of a copy of the project that were not measured; add which run which line."""
    base = sqlite3.connect(result)
    base.executescript(TABLES)
    folder = result.with_suffix(".parts")
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    (folder / "config").write_text(CONFIG.format(tree=tree, folder=folder), "utf-8")
    packages = next(python.parents[1].glob("lib/python*/site-packages"))
    (packages / "measured.pth").write_text(HOOK, "utf-8")
    tests = [str(python), "-m", "pytest", "-q", "-m", "not slow", "-p", "no:cacheprovider"]
    ignored = [f"--ignore={tree / 'tests' / name}" for name in LEFT_OUT]
    ignored += [f"--ignore={path}" for path in (tree / "tests").rglob("*") if path.name in ALONE]
    listing = [*tests, "--collect-only", *ignored, "tests"]
    listed = subprocess.run(listing, cwd=tree, capture_output=True, text=True, check=False)
    if listed.returncode:
        raise SystemExit(f"mutants: pytest lists no tests:\n{listed.stdout[-2000:]}")
    there = {line for line in listed.stdout.splitlines() if "::" in line}
    known = dict(base.execute("SELECT id, name FROM test"))
    new = sorted(there.difference(known.values()))
    with base:  # their numbers stay taken
        gone = [(number,) for number, name in known.items() if name not in there]
        base.executemany("UPDATE test SET name = NULL WHERE id = ?", gone)
    if new:
        (folder / "tests").write_text("\n".join(new), "utf-8")
        shutil.copy(__file__, folder)  # where no other of our tools hides a folder of the tests
        environment = {
            **os.environ,
            FOLDER: str(folder),
            "COVERAGE_PROCESS_START": str(folder / "config"),
            "PYTHONPATH": str(folder),
        }
        tests += ["-n2", "--tb=no", "-p", "mutants_measure", f"--timeout={TEST_SECONDS}"]
        subprocess.run([*tests, f"@{folder}/tests"], cwd=tree, env=environment, check=False)
    notes = [
        json.loads(line)
        for path in folder.glob("notes-*.json")
        for line in path.read_text("utf-8").splitlines()
    ]
    for number, note in enumerate(notes, len(known)):
        note["number"] = number
    lines: Lines = defaultdict(lambda: defaultdict(set))
    add_blocks(lines, notes, tree)
    add_python(lines, {note["test"]: note["number"] for note in notes}, folder, tree)
    add(base, notes, lines, tree)
    base.close()
    shutil.rmtree(folder)


def add_blocks(lines: Lines, notes: list[dict[str, Any]], tree: Path) -> None:
    """Add the lines of C: each block's first one."""
    used: dict[str, set[int]] = defaultdict(set)
    for note in notes:
        for program, offsets in note["blocks"].items():
            used[program].update(offsets)
    places: dict[str, dict[int, tuple[str, int]]] = {}
    for program, offsets in used.items():
        path = Path(program.replace("~", "/"))
        if not path.is_file():  # a program's own name for itself, or a copy that is gone
            path = next((tree / "build").rglob(path.name), path)
        if not path.is_file():
            continue
        asked = "".join(f"{offset - 1:x}\n" for offset in sorted(offsets))
        command = ["addr2line", "-e", str(path)]
        answer = subprocess.run(command, input=asked, capture_output=True, text=True, check=True)
        found = (line.partition(" ")[0].rpartition(":") for line in answer.stdout.splitlines())
        places[program] = {
            offset: (os.path.relpath(os.path.normpath(tree / "tests/native" / file), tree), int(at))
            for offset, (file, _, at) in zip(sorted(offsets), found, strict=True)
            if at.isdigit()
        }
    for note in notes:
        for program, offsets in note["blocks"].items():
            for offset in offsets:
                if place := places.get(program, {}).get(offset):
                    lines[place[0]][place[1]].add(note["number"])


def add_python(lines: Lines, numbers: dict[str, int], folder: Path, tree: Path) -> None:
    """Add the lines of Python."""
    for part in folder.glob("data.*"):
        data = coverage.CoverageData(basename=str(part))
        try:
            data.read()
        except coverage.CoverageException:  # of a process that was killed
            continue
        for file in data.measured_files():
            name = os.path.relpath(file, tree)
            for number, contexts in data.contexts_by_lineno(file).items():
                # Of this process, in which all tests run, or of one that a test started.
                own = (numbers.get(context.rpartition("|")[2]) for context in contexts)
                lines[name][number].update(one for one in own if one is not None)


def add(base: sqlite3.Connection, notes: list[dict[str, Any]], lines: Lines, tree: Path) -> None:
    """Add tests, and the lines that they run: of a file as it was when it was measured first."""
    breadth: Counter[int] = Counter()
    for tests in (tests for of_file in lines.values() for tests in of_file.values()):
        breadth.update(tests)
    with base:
        for note in notes:
            row = (note["number"], note["test"], note["seconds"], breadth[note["number"]])
            base.execute("INSERT INTO test VALUES (?, ?, ?, ?)", row)
        for file in (file for file in sorted(lines) if (tree / file).is_file()):
            text = (tree / file).read_text("utf-8")
            base.execute("INSERT OR IGNORE INTO file VALUES (?, ?)", (file, text))
            (was,) = base.execute("SELECT text FROM file WHERE name = ?", (file,)).fetchone()
            old, new = was.splitlines(), text.splitlines()
            found = lines_of(base, file)
            for number, tests in lines[file].items():
                at = number if old == new else moved(old, new, number)
                found.setdefault(at, set()).update(tests)
            base.executemany(
                "INSERT OR REPLACE INTO line VALUES (?, ?, ?)",
                ((file, at, json.dumps(sorted(tests))) for at, tests in found.items()),
            )


def lines_of(base: sqlite3.Connection, file: str) -> dict[int, set[int]]:
    """Return which tests run each line of a file."""
    rows = base.execute("SELECT number, tests FROM line WHERE file = ?", (file,))
    return {number: set(json.loads(tests)) for number, tests in rows}


# ---- Choosing --------------------------------------------------------------------------


class Measured:
    """What was measured."""

    def __init__(self, path: Path) -> None:
        self.base = sqlite3.connect(path)
        there = "SELECT id, name, seconds, breadth FROM test WHERE name IS NOT NULL"
        tests = self.base.execute(there)
        self.tests = {row[0]: row[1:] for row in tests}

    def runners(self, file: str, number: int, text: str) -> set[int]:
        """Return the tests that run a line of a file, or those that use what it sets."""
        if file in NOT_TRACED:
            return set().union(*lines_of(self.base, NOT_TRACED[file]).values())
        found = self.base.execute("SELECT text FROM file WHERE name = ?", (file,)).fetchone()
        if not found:
            return set()
        old, new = found[0].splitlines(), text.splitlines()
        lines, number = lines_of(self.base, file), moved(old, new, number)
        if file.endswith(".c"):
            known = sorted(lines)
            at = bisect_right(known, number) - 1
            if at >= 0 and not any(line.startswith("}") for line in old[known[at] : number]):
                return lines[known[at]]
        elif function_of(old, number) and (tests := lines.get(number)):
            return tests
        return self.users(lines, old, number)

    def users(self, lines: dict[int, set[int]], text: list[str], number: int) -> set[int]:
        """Return tests for a line that runs in none, or whenever its module is imported.

        They are those that use the name that it gives a value. If it gives none, then those that
        are named as its function or what it names; else all of the file.
        """
        if name := re.search(r"\w+(?=(?:\[\w*\])?(?:: [^=]*)? = )", text[number - 1]):
            user = re.compile(rf"\b{name[0]}\b")
            return set().union(*(lines[at] for at in lines if user.search(text[at - 1])))
        about = function_of(text, number) or text[number - 1]
        words = set(re.findall(r"[a-z]{4,}", about.lower()))
        named = {n for n, (test, *_) in self.tests.items() if any(word in test for word in words)}
        return named or set().union(*lines.values())

    def choose(self, file: str, number: int, text: str, seconds: float) -> list[str]:
        """Return tests for a line, the best first, that take this many seconds.

        The best are quick and run much of the file and little else. Of one function's cases the
        first ones count for more than the others, and of one file's functions, too. Those that run
        other lines of the file come last: what a process ran that was killed is not known.
        """
        exact, names, seen = self.runners(file, number, text), [], Counter[str]()
        own = Counter(test for tests in lines_of(self.base, file).values() for test in tests)

        def cost(test: int) -> tuple[bool, float, str]:
            name, took, breadth = self.tests[test]
            again = 2 ** seen[name.partition("[")[0]] * (1 + seen[name.partition("::")[0]] / 4)
            dear = (took + OVERHEAD) * (100 + breadth) / (1 + own[test]) * again
            return test not in exact, dear, name

        waiting = [(cost(test), test) for test in (exact | own.keys()) & self.tests.keys()]
        heapify(waiting)
        while waiting and seconds > 0:
            before, test = heappop(waiting)
            if before < (now := cost(test)):  # others like it were chosen meanwhile
                heappush(waiting, (now, test))
                continue
            name, took, _ = self.tests[test]
            seconds -= took + OVERHEAD
            names.append(name)
            seen.update((name.partition("[")[0], name.partition("::")[0]))
        return names


def function_of(text: list[str], number: int) -> str:
    """Return the name of the function in which a line of Python stands; "" outside of all."""
    with contextlib.suppress(SyntaxError):
        for node in reversed(list(ast.walk(ast.parse("\n".join(text))))):  # the innermost first
            if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                continue
            if node.body[0].lineno <= number <= (node.end_lineno or 0):
                return node.name
    return ""


def moved(old: list[str], new: list[str], number: int) -> int:
    """Return where a line was when it was measured; both count from 1."""
    blocks = difflib.SequenceMatcher(None, old, new, autojunk=False).get_matching_blocks()
    before = [block for block in blocks if block.b < number]
    if not before:
        return 1
    block = before[-1]
    return max(1, min(block.a + (number - block.b), len(old)))
