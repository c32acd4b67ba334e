"""Change one line of the code at a time and see whether its tests notice: `make mutants`.

python tools/mutants.py [--seed S] [--count N] [--only C7,P1-P20] [--measure]

Half of the mutants are of the C core, half of the Python code. Each is built in a copy of the
project in build/mutants, never here, and the tests that run its line have a minute at most, the
best first: which they are is measured before the first mutant, in half an hour, and later for new
tests alone. What does not build, or makes the same machine code, is replaced by another mutant. A
survivor is either a gap in the tests, or stands in tools/mutants.txt with the reason why nothing
can notice it. The outcomes are kept in build/mutants.json: --only runs some of the same seed again.
"""

from __future__ import annotations

import argparse
import ast
import contextlib
import io
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import asan
from mutants_measure import Measured, measure

ROOT = asan.ROOT
TREE = ROOT / "build" / "mutants"
CORE, PYTHON = TREE / "build" / "core", TREE / "venv" / "bin" / "python"
RESULTS, KNOWN = ROOT / "build" / "mutants.json", ROOT / "tools" / "mutants.txt"
MEASURED = TREE / "measured.sqlite"
SECONDS, TEST_SECONDS = 60, 30  # for a mutant; a test that takes longer hangs
LANES = 2  # tests at a time
LANGUAGES = {"C": "native", "P": "src/slipstream"}

# What is changed may signal any process: the tests see only their own, where the system allows it.
UNSHARE = "unshare --pid --fork --kill-child --mount-proc sh -c"
ALONE = [*UNSHARE.split(), '"$@"; exit', "sh"]

_COMPARED = {"==": "!=", "!=": "==", "<": "<=", "<=": "<", ">": ">=", ">=": ">"}
_C_SWAPS = _COMPARED | {"&&": "||", "||": "&&", "+=": "-=", "true": "false", "false": "true"}
_C_SWAPS |= {" + ": " - ", " - ": " + ", " * ": " + "}
_C_TOKEN = re.compile(
    r"(?<![-<>=!+\w])(?:==|!=|<=|>=|&&|\|\||\+=| [-+*] |(?<=\s)[<>](?=\s)|true\b|false\b|\d+\b)"
)
_C_NOISE = re.compile(r'/\*.*?\*/|//[^\n]*|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\'', re.DOTALL)
_C_STATEMENT = re.compile(r"^ +(?:\(void\))?[\w.>\-\[\]]+(?:\(.*\)| [-+|&]?= .*);$")
_C_CONDITION = re.compile(r"^ +(?:\} else )?(?:if|while) \((.*)\)(?: \{| return.*;| break;|)$")
_C_CHECKED = re.compile(r"^ +if \(.*\) (?:return|break|goto|continue).*;$")


# How much room there is: one more changes nothing.
_C_ROOM = re.compile(r"^ +(?:static |const |unsigned )*\w+ \w+\[\d+\](?= =|;)")

_TEST = r"tests/[\w/.-]+\.py(?:::\w+)*"

# The smaller or the larger of two: which of two equal ones it is changes nothing.
_C_EXTREME = re.compile(r"(\S+) [<>]=? (\S+) \? (?:\1 : \2|\2 : \1)\b")


@dataclass
class Mutant:
    """One change: which, where, what became of it."""

    name: str
    file: str
    line: int
    before: str
    after: str
    outcome: str = ""
    by: str = ""

    @property
    def key(self) -> str:
        """How tools/mutants.txt names it: lines move, their text does not."""
        return f"{self.file}: {self.before.strip()} -> {self.after.strip()}"


Change = tuple[int, int, str]
"""From, to, and what stands there instead."""


def c_changes(text: str) -> Iterator[Change]:
    """Yield what may be changed in a C file, functions only."""
    code = _C_NOISE.sub(lambda found: re.sub(r"[^\n]", "\t", found[0]), text)
    start = 0
    for line in code.splitlines(keepends=True):
        bare = line.rstrip("\n")
        if bare.startswith(" ") and "assert" not in bare:
            for token in _C_TOKEN.finditer(bare):
                put = str(int(token[0]) + 1) if token[0].isdigit() else _C_SWAPS[token[0]]
                yield start + token.start(), start + token.end(), put
            if _C_STATEMENT.match(bare) or _C_CHECKED.match(bare):
                yield start + len(bare) - len(bare.lstrip()), start + len(bare), ";"
            if found := _C_CONDITION.match(bare):
                condition = text[start + found.start(1) : start + found.end(1)]
                yield start + found.start(1), start + found.end(1), f"!({condition})"
        start += len(line)


_OPERATORS: dict[type[ast.AST], str] = {
    ast.Eq: "!=", ast.NotEq: "==", ast.Lt: "<=", ast.LtE: "<", ast.Gt: ">=", ast.GtE: ">",
    ast.Is: "is not", ast.IsNot: "is", ast.In: "not in", ast.NotIn: "in",
    ast.And: "or", ast.Or: "and", ast.Add: "-", ast.Sub: "+", ast.Mult: "+",
}  # fmt: skip


def operators(node: ast.AST) -> list[tuple[ast.expr, ast.AST, ast.expr]]:
    """Return the operators of an expression, with what stands on both sides."""
    if isinstance(node, ast.Compare):
        return list(zip([node.left, *node.comparators], node.ops, node.comparators, strict=False))
    if isinstance(node, ast.BinOp):
        return [(node.left, node.op, node.right)]
    return [(node.values[0], node.op, node.values[1])] if isinstance(node, ast.BoolOp) else []


def python_changes(text: str) -> Iterator[Change]:  # noqa: C901 - a table of cases
    """Yield what may be changed in a Python file."""
    starts = [0]
    for line in text.splitlines(keepends=True):
        starts.append(starts[-1] + len(line))

    stored: set[ast.expr] = set()

    def span(node: ast.expr | ast.stmt) -> tuple[int, int]:
        end_line, end = node.end_lineno or 0, node.end_col_offset or 0
        return starts[node.lineno - 1] + node.col_offset, starts[end_line - 1] + end

    for node in ast.walk(ast.parse(text)):
        match node:
            case ast.If(test=test) | ast.While(test=test) | ast.IfExp(test=test):
                start, end = span(test)
                yield start, end, f"(not ({text[start:end]}))"
            case ast.keyword(arg="slots", value=value):  # what an object's memory looks like
                stored.add(value)
            case ast.Constant() if node in stored:
                continue
            case ast.Constant(value=bool(value)):
                yield *span(node), str(not value)
            case ast.Constant(value=int(value)):
                yield *span(node), str(value + 1)
            case ast.Return(value=ast.expr() as value) if node.end_lineno == node.lineno:
                yield *span(value), "None"
            case ast.Expr(value=ast.Call()) | ast.Raise() | ast.AugAssign():
                if node.end_lineno == node.lineno:
                    yield *span(node), "pass"
        for left, operator, right in operators(node):
            start, end = span(left)[1], span(right)[0]
            word = text[start:end].strip(" ()")
            if (put := _OPERATORS.get(type(operator))) and "\n" not in word:
                yield start, end, text[start:end].replace(word, put, 1)


def candidates(name: str, seed: int) -> Iterator[tuple[Mutant, str]]:
    """Yield mutants for one number in an order of its own, each with its file's whole text."""
    language = name[0]
    chance = random.Random(f"{seed} {name}")  # noqa: S311 - a choice, not a secret
    folder = ROOT / LANGUAGES[language]
    files = sorted(folder.rglob("*.c" if language == "C" else "*.py"))
    files = [file for file in files if "windows" not in str(file)]  # which does not run here
    changes = c_changes if language == "C" else python_changes
    sites = [(file, change) for file in files for change in changes(file.read_text("utf-8"))]
    chance.shuffle(sites)
    for file, (start, end, put) in sites:
        text = file.read_text("utf-8")
        changed = text[:start] + put + text[end:]
        if changed == text:
            continue
        number = text.count("\n", 0, start)
        lines = text.splitlines()[number], changed.splitlines()[number]
        column = start - text.rfind("\n", 0, start) - 1
        same = (one.span() for one in _C_EXTREME.finditer(lines[0]) if put in _COMPARED)
        if any(first <= column < last for first, last in same):
            continue
        if (room := _C_ROOM.match(lines[0])) and column < room.end():
            continue
        yield Mutant(name, str(file.relative_to(ROOT)), number + 1, *lines), changed


def set_up() -> None:
    """Copy the project, build its core without link-time optimisation, make an interpreter."""
    git = shutil.which("git") or "git"
    listed = subprocess.run([git, "-C", ROOT, "ls-files"], check=True, capture_output=True)
    built = [str(path.relative_to(ROOT)) for path in ROOT.glob("examples/*/*.so")]
    for name in [*listed.stdout.decode().splitlines(), *built]:
        old, new = ROOT / name, TREE / name
        if old.exists() and not (new.exists() and new.read_bytes() == old.read_bytes()):
            new.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(old, new)
    asan.BUILD, asan.CORE, asan.ROOT, asan.SANITIZERS = TREE, CORE, TREE, ""
    asan.PACKAGE = TREE / "src" / "slipstream"
    trace = TREE / "build"
    trace.mkdir(exist_ok=True)
    source = str(TREE / "tools" / "mutants_trace.c")
    subprocess.run(f"gcc -O2 -fPIC -c -o {trace}/trace.o {source}".split(), check=True)
    compiler = str(TREE / "tools" / "mutants_cc.sh")
    # Tests build these programs anew; what else they compile is not the core.
    os.environ |= {"CC": compiler, "SLIPSTREAM_TEST_CC": compiler, "TRACE": str(trace)}
    if asan.build() or build_tests():
        raise SystemExit("mutants: the copy in build/mutants does not build")
    del os.environ["CC"]
    lay_out()
    asan.make_environment()


def lay_out() -> None:
    """Put links to what is built, and to what is installed beside it, into the copy's package."""
    place = asan.PACKAGE / "include"
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir()
    links = {path.name: path for path in (CORE / "_core.abi3.so", CORE / "slipstream-worker")}
    links |= {name: TREE / name for name in ("share", "sdk")}
    headers = [*(TREE / "include").glob("*.h"), TREE / "sdk" / "cpp" / "slipstream.hpp"]
    links |= {f"include/{path.name}": path for path in headers}
    for name, target in links.items():
        (asan.PACKAGE / name).unlink(missing_ok=True)
        (asan.PACKAGE / name).symlink_to(target)


def build_tests() -> int:
    """Build the programs of tests/native; return make's exit code."""
    folder, place = TREE / "tests" / "native", TREE / "build" / "native-tests"
    make = f"make -s -j2 -C {folder} BUILD={place}".split()
    return subprocess.run(make, check=False, stdout=subprocess.DEVNULL).returncode


def build_core() -> bool:
    """Build the core of the copy as it is now; whether that worked."""
    command = [str(Path(sys.executable).parent / "cmake"), "--build", str(CORE), "--", "--quiet"]
    return subprocess.run(command, check=False, capture_output=True).returncode == 0


def builds(mutant: Mutant) -> bool:
    """Build the copy as it is now; whether it is other code than before, and compiles."""
    if mutant.name[0] == "P":
        with contextlib.suppress(SyntaxError, SyntaxWarning):
            return bool(compile((TREE / mutant.file).read_text("utf-8"), mutant.file, "exec"))
        return False
    objects = list(CORE.rglob(f"{Path(mutant.file).name}.o"))
    before = [path.read_bytes() for path in objects]
    return build_core() and before != [path.read_bytes() for path in objects]


def first_failure(tests: list[str], left_out: set[str]) -> str:
    """Run tests until one fails: which; "" if none does, within the time that they have."""
    options = ["-v", "-x", f"-n{LANES}", "-p", "no:cacheprovider", "--timeout-method=thread"]
    options += [f"--timeout={TEST_SECONDS}", "-m", "not slow", "--no-header", "--tb=no"]
    options += [f"--deselect={name}" for name in left_out]
    alone = ALONE if shutil.which("unshare") and os.geteuid() == 0 else []
    process = subprocess.Popen(
        [*alone, PYTHON, "-m", "pytest", *options, *tests],
        cwd=TREE,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
        env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"},
    )
    watch = threading.Timer(SECONDS, os.killpg, (process.pid, signal.SIGKILL))
    watch.start()
    failed, passed = "", False
    with process, contextlib.closing(process.stdout or io.StringIO()) as output:
        for line in output:
            passed = passed or " PASSED " in line
            if line.startswith("ERROR: not found"):  # of which pytest runs none at all
                raise SystemExit(f"mutants: {line.strip()}: measure anew, with --measure")
            if found := re.search(rf"(?:FAILED|ERROR) .*?({_TEST})|^(?:ERROR|E  ).*$", line):
                failed = found[1] or found[0]
                break
        watch.cancel()
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
    return failed or ("" if passed else "nothing passed in time")


def run(name: str, seed: int, measured: Measured, sound: dict[str, bool]) -> Mutant:
    """Make the first mutant of a number that builds, and judge it.

    `measured`: which tests run a line. `sound`: the tests that failed so far, and whether they
    pass without a mutant.
    """
    for mutant, text in candidates(name, seed):
        place, whole = TREE / mutant.file, (TREE / mutant.file).read_bytes()
        while not mutant.outcome:
            try:
                place.write_text(text, "utf-8")
                if not builds(mutant):
                    break
                left_out = {test for test, passes in sound.items() if not passes}
                old = whole.decode("utf-8")
                tests = measured.choose(mutant.file, mutant.line, old, LANES * SECONDS)
                mutant.by = first_failure(tests, left_out) if tests else ""
                if mutant.by.startswith("tests/") and not first_failure([mutant.by], set()):
                    sound[mutant.by] = False  # it fails now and then
            finally:
                place.write_bytes(whole)
                if name[0] == "C":
                    build_core()
            if mutant.by.startswith("tests/") and mutant.by not in sound:
                sound[mutant.by] = not first_failure([mutant.by], set())
            if sound.get(mutant.by, True):
                mutant.outcome = "killed" if mutant.by else "survived"
        if mutant.outcome:
            return mutant
    raise AssertionError(name)


def known() -> dict[str, str]:
    """Return the mutants that nothing can notice, and why: a line each, the reason below it."""
    lines = [line for line in KNOWN.read_text("utf-8").splitlines() if line and line[0] != "#"]
    return dict(zip(lines[::2], map(str.strip, lines[1::2]), strict=True))


def report(mutants: list[Mutant]) -> bool:
    """Print the tables; whether nine of ten are killed in each language."""
    reasons, good = known(), True
    for mutant in (one for one in mutants if one.outcome == "survived"):
        print(f"\n{mutant.name} survived: {mutant.file}:{mutant.line}")
        print(f"  - {mutant.before}\n  + {mutant.after}")
        print(f"  {reasons.get(mutant.key, 'a gap in the tests, or: ' + mutant.key)}")
    for letter, folder in LANGUAGES.items():
        found = Counter[str]()
        for mutant in (one for one in mutants if one.name[0] == letter):
            same = mutant.outcome == "survived" and mutant.key in reasons
            found["nothing to notice" if same else mutant.outcome] += 1
        killed, all_of_them = found["killed"], found["killed"] + found["survived"]
        print(f"{folder:16}" + "".join(f"{n:6} {what}" for what, n in sorted(found.items())))
        good = good and killed >= 0.9 * all_of_them
    return good


def numbers(text: str) -> list[str]:
    """Return the names of mutants: C7,P1-P3."""
    names: list[str] = []
    for part in text.split(","):
        first, last = part.split("-") if "-" in part else (part, part)
        names += [f"{first[0]}{n}" for n in range(int(first[1:]), int(last[1:]) + 1)]
    return names


def main() -> int:
    """Run mutants; 0 if nine of ten are killed in each language."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--count", type=int, default=100)
    parser.add_argument("--only", default="", help="some of them, such as C7,P1-P20")
    parser.add_argument("--measure", action="store_true", help="measure anew which tests run what")
    given = parser.parse_args()
    half = given.count // 2
    names = numbers(given.only or f"C1-C{half},P1-P{half}")
    old = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    kept = old.get("mutants", []) if old.get("seed") == given.seed and given.only else []
    done = {one["name"]: Mutant(**one) for one in kept}
    set_up()
    if given.measure:
        MEASURED.unlink(missing_ok=True)
    measure(TREE, PYTHON, MEASURED)
    measured, sound = Measured(MEASURED), dict[str, bool]()
    for name in names:
        start = time.monotonic()
        done[name] = mutant = run(name, given.seed, measured, sound)
        seconds = f"{time.monotonic() - start:.0f} s"
        print(f"{name:4} {mutant.outcome:9} {seconds:>5} {mutant.file}:{mutant.line} {mutant.by}")
        sys.stdout.flush()
        result = {"seed": given.seed, "mutants": [asdict(one) for one in done.values()]}
        RESULTS.write_text(json.dumps(result, indent=1) + "\n")
    return 0 if report(list(done.values())) else 1


if __name__ == "__main__":
    sys.exit(main())
