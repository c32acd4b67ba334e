"""Compilers and the header's text, for the tests of the C contract."""

from __future__ import annotations

import importlib.util
import re
import subprocess
from collections.abc import Sequence
from pathlib import Path

from support.toolbox import require

HERE = Path(__file__).resolve().parent
REPO = HERE.parents[1]
INCLUDE = REPO / "include"
HEADER = INCLUDE / "slipstream.h"
FROZEN = HERE / "slipstream-1.0.h"
FUZZER = REPO / "tests" / "fuzz" / "frame.c"
EXAMPLE = REPO / "examples" / "minimal" / "minimal.c"

C_STANDARDS = ("c11", "c17", "c2x")
CXX_STANDARDS = ("c++11", "c++14", "c++17", "c++20", "c++2b")
COMPILERS = ("gcc", "clang")
WARNINGS = ("-Wall", "-Wextra", "-pedantic", "-Werror", "-Wpadded")
STRICT_WARNINGS = (
    "-Wconversion",
    "-Wsign-conversion",
    "-Wshadow",
    "-Wcast-qual",
    "-Wcast-align",
    "-Wundef",
    "-Wwrite-strings",
)
STRICT_CXX_WARNINGS = {
    "gcc": ("-Wold-style-cast", "-Wuseless-cast"),
    "clang": ("-Wold-style-cast",),
}
STRICT_C_WARNINGS = ("-Wc++-compat", "-Wstrict-prototypes", "-Wmissing-prototypes")
SANITIZERS = ("-fsanitize=address,undefined", "-fno-sanitize-recover=all")


def run(command: Sequence[object], data: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    """Run a command to its end, at most ten minutes; the caller judges the outcome."""
    return subprocess.run(
        [str(part) for part in command], input=data, capture_output=True, timeout=600, check=False
    )


def succeed(command: Sequence[object], data: bytes = b"") -> bytes:
    """Run a command that has to succeed, and give back its standard output."""
    done = run(command, data)
    assert done.returncode == 0, (
        f"{' '.join(map(str, command))}\nexit {done.returncode}\n"
        f"{done.stdout[-2000:].decode(errors='replace')}\n"
        f"{done.stderr[-4000:].decode(errors='replace')}"
    )
    return done.stdout


def driver_of(compiler: str, standard: str) -> str:
    """The command of a compiler that compiles the language of `standard`."""
    return {"gcc": "g++", "clang": "clang++"}[compiler] if is_cxx(standard) else compiler


def require_both(compiler: str, *flags: str) -> None:
    """`require` for C and for C++."""
    for standard in ("c11", "c++11"):
        require(driver_of(compiler, standard), *flags)


def is_cxx(standard: str) -> bool:
    """Whether the name of a language standard is one of C++."""
    return "++" in standard


def front_end(compiler: str, standard: str) -> tuple[str, ...]:
    """The command that compiles a source as the language of `standard`."""
    if not is_cxx(standard):
        return (compiler, f"-std={standard}", "-x", "c")
    return (driver_of(compiler, standard), f"-std={standard}", "-x", "c++")


def header_with(folder: Path, *edits: tuple[str, str], source: Path = HEADER) -> Path:
    """Put a copy of the header into `folder`, each edit applied exactly once.

    Args:
        folder: Where slipstream.h is written; an include path for the compiler.
        edits: Pairs of old and new text; the old one has to occur once.
        source: The header that is copied.

    Returns:
        The folder.
    """
    text = source.read_text()
    for old, new in edits:
        assert text.count(old) == 1, f"{old!r} occurs {text.count(old)} times in {source.name}"
        text = text.replace(old, new)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "slipstream.h").write_text(text)
    return folder


def code_of(header: Path) -> str:
    """The header from its include guard on: without the pages and the example before it."""
    return header.read_text().partition("* example:end")[2]


def between(text: str, start: str, end: str) -> str:
    """The whole lines between the line that holds `start` and the one that holds `end`."""
    lines = text.splitlines(keepends=True)
    first = [number for number, line in enumerate(lines) if start in line]
    last = [number for number, line in enumerate(lines) if end in line]
    assert len(first) == len(last) == 1, f"{start} and {end} have to occur once each"
    return "".join(lines[first[0] + 1 : last[0]])


def cdef_part(header: Path) -> str:
    """The declarations of a header between its two marks, without comments."""
    part = between(header.read_text(), "cdef:begin */", "/* cdef:end */")
    return re.sub(r"/\*.*?\*/", "", part, flags=re.DOTALL)


def declarations(header: Path) -> str:
    """What the build hands to cffi for a header, made by the build's own script."""
    path = REPO / "native" / "python" / "cdef.py"
    spec = importlib.util.spec_from_file_location("slipstream_build_cdef", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    text = module.declarations(header.read_text())
    assert isinstance(text, str)
    return text
