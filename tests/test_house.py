"""The rules of the house: who may import whom, and what every file has or has not."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "src" / "slipstream"
MODULES = sorted(PACKAGE.rglob("*.py"))
LINES_AT_MOST = 400

# What each room may import from this package, beside itself. Arrows go down only: a room's row
# names rooms above it in this table, never below.
FOUNDATION = {"_platform", "text", "files", "errors", "_native", "events", "frames"}
SUPPORT = {"capture", "status", "config", "library", "logs"}
ALLOWED = {
    "_platform": set(),
    "text": set(),
    "files": {"_platform"},
    "errors": set(),
    "_native": {"errors", "_core"},
    "events": {"errors", "_native"},
    "frames": {"errors", "_native", "events"},
    "capture": FOUNDATION,
    "status": {"_native"},
    "config": {"text", "files", "errors"},
    "library": FOUNDATION,
    "logs": FOUNDATION,
    "aleo": {"errors", "events"},
    "streams": FOUNDATION | {"capture", "aleo"},
    "delivery": FOUNDATION | SUPPORT,
    "loaded": FOUNDATION | SUPPORT | {"delivery"},
    "manager": FOUNDATION | SUPPORT | {"delivery", "loaded"},
    "__init__": FOUNDATION | SUPPORT | {"loaded", "manager"},
    "check": FOUNDATION | SUPPORT | {"delivery", "__init__"},
    "testing": FOUNDATION | SUPPORT | {"delivery", "manager", "__init__"},
    "cli": FOUNDATION
    | SUPPORT
    | {"aleo", "streams", "delivery", "loaded", "manager", "check", "__init__"},
}
# Types only, at no cost and no cycle at run time.
FOR_TYPES: set[tuple[str, str]] = set()


def room_of(path: Path) -> str:
    """The module or package right below slipstream that a file belongs to."""
    first = path.relative_to(PACKAGE).parts[0]
    return first.removesuffix(".py")


def imports(path: Path) -> Iterator[tuple[str, bool]]:
    """The rooms that a file imports, and whether that is for types only."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for_types = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)
        for inner in ast.walk(node)
    }
    here = ["slipstream", *path.relative_to(PACKAGE).parts[:-1]]
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                base = ".".join(here[: len(here) - node.level + 1] + ([base] if base else []))
            names = [f"{base}.{alias.name}" for alias in node.names]
        else:
            continue
        for name in names:
            parts = name.split(".")
            if parts[0] != "slipstream":
                continue
            room = parts[1] if len(parts) > 1 else "__init__"
            if room not in {room_of(module) for module in MODULES} | {"_core"}:
                room = "__init__"  # a name that the package itself offers
            yield room, id(node) in for_types


def test_the_table_goes_down_only() -> None:
    order = list(ALLOWED)
    for room, below in ALLOWED.items():
        for name in below - {"_core"}:
            assert order.index(name) < order.index(room), f"{room} may not be below {name}"


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports(path: Path) -> None:
    room = room_of(path)
    assert room in ALLOWED, f"{room} is not in the table of this test"
    for imported, for_types in imports(path):
        if imported != room and not (for_types and (room, imported) in FOR_TYPES):
            assert imported in ALLOWED[room], f"{path.name} imports slipstream.{imported}"


def test_the_codecs_need_no_extension() -> None:
    # The package's own __init__ imports the manager, and so the core: look at the codec alone.
    code = (
        "import importlib.util, sys, types; p = types.ModuleType('slipstream');"
        f"p.__path__ = [{str(PACKAGE)!r}]; sys.modules['slipstream'] = p;"
        "import slipstream.aleo.codec; print('slipstream._core' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True
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
    assert code_lines(path) <= LINES_AT_MOST


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
    answer = subprocess.run(
        ["git", "-C", ROOT, "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        capture_output=True,
        check=False,
        timeout=60,
    )
    if answer.returncode != 0:
        pytest.skip("not a git checkout")
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
def test_the_wheel(tmp_path: Path) -> None:
    """Builds the wheel as `make dist` does, and uses it in a new environment."""
    import os

    build = tmp_path / "build"
    commands = [
        [
            *[sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation"],
            *[f"--config-settings=build-dir={build}", "--wheel-dir", str(tmp_path), str(ROOT)],
        ],
        [sys.executable, str(ROOT / "tools" / "check_wheel.py")],
    ]
    for command in commands:
        wheels = [] if command is commands[0] else [str(path) for path in tmp_path.glob("*.whl")]
        done = subprocess.run(
            [*command, *wheels],
            env={**os.environ, "CMAKE_BUILD_PARALLEL_LEVEL": "2"},
            capture_output=True,
            text=True,
            timeout=280,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
