"""The rules of the house: who may import whom, and what every file has or has not."""

from __future__ import annotations

import ast
import importlib.util
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

from support.c_code import CALLS, arrows, circle, includes
from support.wheel import built_wheel

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "src" / "slipstream"
MODULES = sorted(PACKAGE.rglob("*.py"))
CORE = ROOT / "native"
SOURCES = sorted(CORE.glob("*/**/*.[ch]"))
LINES_AT_MOST = 400
TEST_LINES_AT_MOST = 600


def load_plan() -> ModuleType:
    """tools/house.py; the folder itself stays off the path, as its names are those of tests, too."""
    spec = importlib.util.spec_from_file_location("house", ROOT / "tools" / "house.py")
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules.setdefault("house", importlib.util.module_from_spec(spec))
    spec.loader.exec_module(module)
    return module


house = load_plan()
NATIVE, PYTHON = house.NATIVE, house.PYTHON


def room_of(path: Path) -> str:
    """The module or package right below slipstream that a file belongs to."""
    first = path.relative_to(PACKAGE).parts[0]
    return first.removesuffix(".py")


def imported(path: Path) -> Iterator[list[str]]:
    """What a file imports from this package, for its types alone too: the parts of each name."""
    here = ["slipstream", *path.relative_to(PACKAGE).parts[:-1]]
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                base = ".".join(here[: len(here) - node.level + 1] + ([base] if base else []))
            names = [f"{base}.{alias.name}" for alias in node.names]
        else:
            continue
        yield from (name.split(".")[1:] for name in names if name.split(".")[0] == "slipstream")


def imports(path: Path) -> Iterator[str]:
    """The rooms that a file imports."""
    for parts in imported(path):
        # A name that is no room is one that the package itself offers.
        yield parts[0] if parts and parts[0] in {*PYTHON, "_core"} else "__init__"


def module_of(parts: list[str]) -> str:
    """The module that an imported name is, or stands in."""
    for length in range(len(parts), 0, -1):
        path = PACKAGE.joinpath(*parts[:length])
        if path.with_suffix(".py").is_file():
            return "/".join(parts[:length])
    return "/".join([*parts[:1], "__init__"]) if parts else "__init__"


@pytest.mark.parametrize("plan", [NATIVE, PYTHON], ids=["native", "python"])
def test_the_plan_goes_down_only(plan) -> None:
    order = list(plan)
    for name, room in plan.items():
        for below in room.uses:
            assert order.index(below) < order.index(name), f"{name} may not stand on {below}"


def test_the_plan_and_the_code_have_the_same_rooms() -> None:
    assert {path.name for path in CORE.iterdir() if path.is_dir()} == set(NATIVE)
    assert {room_of(module) for module in MODULES} == set(PYTHON)


def test_the_picture_shows_the_plan() -> None:
    assert house.PICTURE.read_text(encoding="utf-8") == house.picture(), "run tools/house.py"


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports(path: Path) -> None:
    room = room_of(path)
    for imported in imports(path):
        if imported not in {room, "_core"}:
            assert imported in PYTHON[room].uses, (
                f"{path.name} imports slipstream.{imported}, and {room} may not use that: move what "
                f"is needed down, or, if {room} really stands on it, say so in tools/house.py"
            )


def test_no_circle_in_the_package() -> None:
    found = {
        (str(path.relative_to(PACKAGE).with_suffix("")), module_of(parts), ".".join(parts))
        for path in MODULES
        for parts in imported(path)
        if path.name != "__init__.py"  # a package's face hands on what is in it
    }
    way = "\n".join(f"{one} -> {other}: {what}" for one, other, what in circle(found))
    assert not way, f"{way}\nmove what both need into a module below them"


def test_the_codecs_need_no_extension() -> None:
    # The package's own __init__ imports the manager, and so the core: look at the codec alone.
    code = (
        "import importlib.util, sys, types; p = types.ModuleType('slipstream');"
        f"p.__path__ = [{str(PACKAGE)!r}]; sys.modules['slipstream'] = p;"
        "import slipstream.aleo.codec; print('slipstream._core' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=600, check=True
    )
    assert done.stdout == "False\n"


def test_one_door_to_cffi() -> None:
    for path in MODULES:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import | ast.ImportFrom):
                line = ast.unparse(node)
                assert (
                    not re.search(r"\b(cffi|_core|ctypes)\b", line) or path.parent.name == "_native"
                ), line


def code_lines(path: Path) -> int:
    """Lines that are neither empty nor a comment nor part of a docstring."""
    text = path.read_text(encoding="utf-8")
    documented: set[int] = set()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            documented.update(range(node.lineno, (node.end_lineno or node.lineno) + 1))
    lines = enumerate(text.splitlines(), 1)
    return sum(
        1 for at, line in lines if at not in documented and line.strip() and line.strip()[0] != "#"
    )


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_no_module_has_two_jobs(path: Path) -> None:
    lines = code_lines(path)
    assert lines <= LINES_AT_MOST, f"{lines} lines: move one of its jobs into a module of its own"


# ---- The core --------------------------------------------------------------------------------

# What a function keeps between its calls belongs to all threads, and to all managers of a process.
# These are made once; and the worker's one buffer has one thread.
KEEPS = {"ss_os_once once = SS_OS_ONCE", "char data[SS_MESSAGE_ROOM]"}


def test_no_function_keeps_anything_that_changes() -> None:
    kept = re.compile(r"\s+static (?!const |_Atomic )([^(]*);")
    found = {
        f"{path.name}: {match[0].strip()}"
        for path in SOURCES
        for line in path.read_text(encoding="utf-8").splitlines()
        if (match := kept.match(line)) is not None and match[1] not in KEEPS
    }
    assert not found


def test_wings_call_only_what_they_stand_on() -> None:
    for unit, other, what in sorted(arrows(SOURCES, CORE)):
        wing, below = unit.split("/")[0], other.split("/")[0]
        if wing != below:
            assert below in NATIVE, f"{unit}: {what}, which is no wing"
            assert below in NATIVE[wing].uses, (
                f"{unit}: {what}, and {wing} may not use {below}: move what is needed down, or, if "
                f"{wing} really stands on it, say so in tools/house.py"
            )


def test_no_circle_in_the_core() -> None:
    """A header may know another's types; what counts is who needs whom to do its work."""
    found = circle({arrow for arrow in arrows(SOURCES, CORE) if f" {CALLS} " in arrow[2]})
    way = "\n".join(f"{unit} -> {other}: {what}" for unit, other, what in found)
    assert not found, f"{way}\nmove what both need into a file below them"


def test_headers_are_named_by_their_wing() -> None:
    for path in SOURCES:
        for name, quoted in includes(path):
            where = f"{path.relative_to(ROOT)} includes {name}"
            assert not quoted or name.split("/")[0] in NATIVE, f'{where}: write "wing/file.h"'


# What only one system has, or has in its own way, is behind native/platform. Mode process is made
# of these, and exists on Linux only, as does the program that tries plugins; the door needs Python's
# own header.
SYSTEM_HEADERS = re.compile(
    r"(linux|sys|asm|net|netinet|arpa)/.*|(pthread|unistd|fcntl|dlfcn|signal|poll|spawn|sched|pwd|grp"
    r"|semaphore|elf|link|ucontext|endian|threads|x86intrin|immintrin|time|dirent)\.h"
)
SYSTEM_ROOMS = {"platform", "process", "check"}


def test_systems_are_behind_the_platform() -> None:
    for path in SOURCES:
        if path.relative_to(CORE).parts[0] in SYSTEM_ROOMS:
            continue
        for name, _ in includes(path):
            assert not SYSTEM_HEADERS.fullmatch(name), (
                f"{path.relative_to(ROOT)} includes <{name}>: use platform/platform.h, or add what "
                "is missing there"
            )
        code = path.read_text(encoding="utf-8")
        found = re.search(r"__builtin_thread_pointer|\bsyscall\(|__linux__|_WIN32", code)
        assert not found, f"{path.relative_to(ROOT)} knows its system: {found and found[0]}"


def test_only_the_platform_module_asks_which_system_this_is() -> None:
    for path in MODULES:
        if room_of(path) != "_platform":
            code = path.read_text(encoding="utf-8")
            assert "sys.platform" not in code, f"{path.name}: ask slipstream._platform"
            assert "os.name" not in code, f"{path.name}: ask slipstream._platform"


def test_no_file_has_two_jobs() -> None:
    for path in [*SOURCES, *sorted((ROOT / "conformance").glob("*.[ch]"))]:
        lines = len(path.read_text(encoding="utf-8").splitlines())
        assert lines <= LINES_AT_MOST, (
            f"{path.relative_to(ROOT)} has {lines} lines, more than {LINES_AT_MOST}: move one of its "
            "jobs into a file of its own"
        )
    for path in sorted((ROOT / "tests").rglob("*.[chp]*")):
        if path.suffix in {".c", ".h", ".py"} and path.name != "slipstream-1.0.h":
            lines = len(path.read_text(encoding="utf-8").splitlines())
            assert lines <= TEST_LINES_AT_MOST, (
                f"{path.relative_to(ROOT)} has {lines} lines, more than {TEST_LINES_AT_MOST}: it has "
                "two subjects; give each a file"
            )


def public(tree: ast.Module) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef]:
    """The public functions, classes and methods of a module."""
    waiting: list[ast.stmt] = list(tree.body)
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            if node.name.startswith("_"):
                continue
            yield node
            if isinstance(node, ast.ClassDef):
                waiting += node.body


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_what_is_public_is_documented(path: Path) -> None:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    assert ast.get_docstring(tree), "the module says nothing"
    hidden = any(part.startswith("_") and part != "__init__.py" for part in path.parts[-1:])
    for node in public(tree):
        decorators = {ast.unparse(decorator) for decorator in node.decorator_list}
        if hidden and isinstance(node, ast.FunctionDef):
            continue
        if decorators & {"override", "overload"}:
            continue
        assert ast.get_docstring(node), f"line {node.lineno}: {node.name} has no docstring"


def files() -> list[Path]:
    """The files that a commit would hold."""
    try:
        answer = subprocess.run(
            ["git", "-C", ROOT, "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
            capture_output=True,
            check=False,
            timeout=600,
        )
    except FileNotFoundError:
        pytest.skip("no git on this machine")
    if answer.returncode != 0:
        pytest.skip(f"not a git checkout: {answer.stderr.decode(errors='replace').strip()}")
    names = answer.stdout.decode().split("\0")
    return [path for name in names if name and (path := ROOT / name).is_file()]


# Put together here, so that this file does not hold what it forbids.
FORBIDDEN = [
    "/" + "work/",
    "/" + "home/",
    "/" + "root/",
    "pypi" + ".org",
    "files.python" + "hosted.org",
    "crates" + ".io",
    "proxy.golang" + ".org",
    "registry.npm" + "js.org",
    "deb.debian" + ".org",
    "repo.maven" + ".apache.org",
]


def test_no_file_names_what_belongs_to_one_machine() -> None:
    found = []
    for path in files():
        content = path.read_bytes()
        found += [
            f"{path.relative_to(ROOT)}: {word}" for word in FORBIDDEN if word.encode() in content
        ]
    assert not found


def test_texts_end_with_a_line_end_and_hold_no_tabs() -> None:
    for path in files():
        if path.name.startswith("LICENSE"):
            continue  # other people's texts
        if path.suffix in {".py", ".c", ".h", ".md", ".toml", ".json5", ".sh"}:
            text = path.read_text(encoding="utf-8")
            name = path.relative_to(ROOT)
            assert not text or (text.endswith("\n") and not text.endswith("\n\n")), name
            assert "\r" not in text, name
            assert "\t" not in text, name
            assert not re.search(r"[ \t]$", text, re.MULTILINE), name


def test_no_two_files_of_tests_have_one_name() -> None:
    """One run imports them all by their names."""
    names = [path.name for path in (ROOT / "tests").rglob("test_*.py")]
    assert sorted(names) == sorted(set(names))


def test_the_package_says_that_it_is_typed() -> None:
    assert (PACKAGE / "py.typed").is_file()


def test_one_version() -> None:
    import tomllib

    import slipstream

    table = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    version = table["project"]["version"]
    assert slipstream.__version__ == version
    assert f"## {version} " in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")


@pytest.mark.slow
@pytest.mark.no_asan
def test_the_wheel(tmp_path_factory) -> None:
    """It is complete, and works in a new environment."""
    tool = ROOT / "tools" / "check_wheel.py"
    done = subprocess.run(
        [sys.executable, str(tool), str(built_wheel(tmp_path_factory))],
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
