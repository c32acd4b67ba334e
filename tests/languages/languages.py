"""Builds the plugin `digest` in each language, and says what it has to find."""

from __future__ import annotations

import functools
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from slipstream import Event, Gap
from slipstream.frames import getter

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
INCLUDE = ROOT / "include"
# A library in C++ exports the templates that it uses, one in Go parts of its runtime, unless
# the linker is told what to.
EXPORTS = "{ global: slipstream_create_plugin_v1; slipstream_info_v1; local: *; };\n"


def run(*command: object, cwd: Path = HERE, **environment: str) -> str:
    """Run a command, at most ten minutes.

    Returns:
        Why it failed; "" if it did not.
    """
    try:
        done = subprocess.run(
            [str(part) for part in command],
            cwd=cwd,
            env={**os.environ, **environment},
            capture_output=True,
            text=True,
            timeout=600,
            check=False,
        )
    except OSError as error:
        return f"{command[0]}: {error.strerror}"
    return "" if done.returncode == 0 else f"{command[0]}: {done.stdout}{done.stderr}"


def _script(library: Path) -> str:
    script = library.with_suffix(".map")
    script.write_text(EXPORTS)
    return f"-Wl,--version-script={script}"


def _cpp(library: Path) -> str:
    flags = ("-std=c++20", "-O1", "-Wall", "-Wextra", "-Werror", "-pedantic", "-Wold-style-cast")
    link = ("-shared", "-fPIC", _script(library), "-I", INCLUDE, "-o", library)
    return run("g++", *flags, *link, HERE / "cpp" / "digest.cpp")


def _rust(library: Path) -> str:
    target = library.parent / "target"
    manifest = HERE / "rust" / "Cargo.toml"
    build = ("cargo", "build", "--release", "--offline", "--quiet", "--manifest-path", manifest)
    trouble = run(*build, CARGO_TARGET_DIR=str(target))
    if not trouble:
        shutil.copy(target / "release" / "libdigest.so", library)
    return trouble


def _go(library: Path) -> str:
    settings = {"CGO_ENABLED": "1", "CGO_CFLAGS": f"-I{INCLUDE}", "GOFLAGS": "-mod=mod"}
    link = f"-ldflags=-extldflags={_script(library)}"
    build = ("go", "build", "-buildmode=c-shared", link, "-o", library, ".")
    return run(*build, cwd=HERE / "go", **settings)


def zig() -> tuple[str, ...]:
    """The command of the Zig compiler, which may be a Python package."""
    found = shutil.which("zig")
    return (found,) if found else (sys.executable, "-m", "ziglang")


def _zig(library: Path) -> str:
    contract = library.with_suffix(".zig")
    try:
        done = subprocess.run(
            [*zig(), "translate-c", "-lc", "-I", str(INCLUDE), str(INCLUDE / "slipstream.h")],
            capture_output=True,
            timeout=600,
            check=False,
        )
    except OSError as error:
        return f"zig: {error.strerror}"
    if done.returncode != 0:
        return f"zig: {done.stderr.decode(errors='replace')}"
    contract.write_bytes(done.stdout)
    root = ("--dep", "contract", f"-Mroot={HERE / 'zig' / 'digest.zig'}")
    module = ("-lc", f"-Mcontract={contract}")
    # Else it uses what the C library of this machine has, and older ones have not.
    target = ("-target", f"{platform.machine()}-linux-gnu.2.34")
    flags = ("build-lib", "-dynamic", "-lc", "-fPIC", "-OReleaseSafe", f"-femit-bin={library}")
    return run(*zig(), *flags, *target, *root, *module, cwd=library.parent)


PROBES = {
    "cpp": ("g++", "--version"),
    "rust": ("cargo", "--version"),
    "go": ("go", "version"),
    "zig": (*zig(), "version"),
}
"""How to ask for each compiler."""

BUILDERS: dict[str, Callable[[Path], str]] = {"cpp": _cpp, "rust": _rust, "go": _go, "zig": _zig}


@functools.cache
def build(language: str, folder: Path) -> tuple[Path, str]:
    """Build the plugin of a language.

    Args:
        language: A key of `BUILDERS`.
        folder: Where the library is put.

    Returns:
        The library, and why there is none; "" if there is.
    """
    library = folder / f"digest-{language}.so"
    return library, BUILDERS[language](library)


class Digest:
    """FNV-1a of 64 bits over all fields of all events; numbers as 8 bytes, little-endian."""

    def __init__(self) -> None:
        """Begin with nothing."""
        self.value = 0xCBF29CE484222325
        self.count = 0

    def _feed(self, data: bytes) -> None:
        for byte in data:
            self.value = (self.value ^ byte) * 0x100000001B3 % 2**64

    def _number(self, number: int) -> None:
        self._feed((number % 2**64).to_bytes(8, "little"))

    def add(self, event: Event) -> None:
        """Add an event: header, spans with their lengths, the word, numbers."""
        self.count += 1
        layout, meta = event.layout, event.meta
        height = 2**64 - 1 if event.block_height is None else event.block_height
        for number in (event.kind, meta.flags, meta.stream, meta.sequence, meta.time_ns, height):
            self._number(number)
        for span in layout.spans:
            data: bytes | None = getattr(event, span.name)
            self._number(2**64 - 1 if data is None else len(data))
            self._feed(data or b"")
        word = getattr(event, layout.word) if layout.word else 0
        self._number(word)
        for number in getter(layout.numbers)(event):
            self._number(number)


def expected(events: list[Event]) -> tuple[int, str]:
    """How many events the plugin has to count, and their digest."""
    digest = Digest()
    for event in events:
        assert not isinstance(event, Gap)
        digest.add(event)
    return digest.count, f"{digest.value:016x}"
