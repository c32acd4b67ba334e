"""Build the core for other systems on this one, with zig's clang.

python tools/cross.py TARGET...     into build/cross/TARGET/stage, as it lies in a wheel

Python's own headers are those of the interpreter that runs this: its stable ABI is one on all
systems. For Windows they, and the library to link, come from a Python for Windows.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
import tomllib
from dataclasses import dataclass
from pathlib import Path

import windows_python
import zig
from fetched import Missing, locked

ROOT = Path(__file__).resolve().parents[1]
BUILD = ROOT / "build" / "cross"


@dataclass(frozen=True)
class Target:
    """A system that the core is built for.

    Attributes:
        zig: What zig calls it, with the oldest version that it runs on.
        system: What CMake calls it.
        processor: Its machine, as CMake calls it.
        tag: The platform in the names of its wheels.
    """

    zig: str
    system: str
    processor: str
    tag: str


TARGETS = {
    "linux-x86_64": Target("x86_64-linux-gnu.2.28", "Linux", "x86_64", "manylinux_2_28_x86_64"),
    "linux-aarch64": Target("aarch64-linux-gnu.2.28", "Linux", "aarch64", "manylinux_2_28_aarch64"),
    "musl-x86_64": Target("x86_64-linux-musl", "Linux", "x86_64", "musllinux_1_2_x86_64"),
    "windows-x86_64": Target("x86_64-windows-gnu", "Windows", "AMD64", "win_amd64"),
    "macos-arm64": Target("aarch64-macos.11.0", "Darwin", "arm64", "macosx_11_0_arm64"),
    "macos-x86_64": Target("x86_64-macos.10.15", "Darwin", "x86_64", "macosx_10_15_x86_64"),
}


def version() -> str:
    """Return the version that pyproject.toml names."""
    table = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    return str(table["project"]["version"])


def _tools(folder: Path) -> Path:
    """Write the programs that CMake wants as one file each."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("ar", "ranlib"):
        script = folder / name
        script.write_text(f'#!/bin/sh\nexec "{zig.path()}" {name} "$@"\n', encoding="utf-8")
        script.chmod(0o755)
    return folder


def _python(target: Target) -> list[str]:
    """Say to CMake where the headers of Python are, and its library where one is linked."""
    if target.system != "Windows":
        include = sysconfig.get_path("include")
        return [f"-DSLIPSTREAM_PYTHON_INCLUDE={include}"]
    python = windows_python.python()
    return [
        f"-DSLIPSTREAM_PYTHON_INCLUDE={python / 'include'}",
        f"-DSLIPSTREAM_PYTHON_LIBRARY={python / 'libs' / 'python3.lib'}",
    ]


def build(name: str, *, quickly: bool = False) -> Path:
    """Build the core for a target; return the folder that holds `slipstream/` as in a wheel.

    Args:
        name: One of TARGETS.
        quickly: Do not optimise; with zig's traps for what C does not define.

    Raises:
        SystemExit: It could not be built; what was said was printed.
        Missing: What it is built with cannot be had.
    """
    target = TARGETS[name]
    folder = BUILD / (f"{name}-quick" if quickly else name)
    with locked(folder):
        return _build(name, target, folder, quickly=quickly)


def _build(name: str, target: Target, folder: Path, *, quickly: bool) -> Path:
    stage = folder / "stage"
    shutil.rmtree(stage, ignore_errors=True)  # nothing of an earlier build gets into a wheel
    environment = {**os.environ, "ZIG_LOCAL_CACHE_DIR": str(BUILD / "zig-cache")}
    cmake = [sys.executable, "-m", "cmake"]
    configure = [
        *(*cmake, "-S", str(ROOT / "native"), "-B", str(folder / "cmake"), "-G", "Ninja"),
        f"-DCMAKE_MAKE_PROGRAM={Path(sys.executable).parent / 'ninja'}",
        f"-DCMAKE_TOOLCHAIN_FILE={ROOT / 'tools' / 'zig.cmake'}",
        *(
            f"-DCMAKE_BUILD_TYPE={'Debug' if quickly else 'Release'}",
            f"-DSKBUILD_PROJECT_VERSION={version()}",
        ),
        f"-DSLIPSTREAM_SYSTEM={target.system}",
        f"-DSLIPSTREAM_PROCESSOR={target.processor}",
        f"-DSLIPSTREAM_ZIG={zig.path()}",
        f"-DSLIPSTREAM_TARGET={target.zig}",
        f"-DSLIPSTREAM_TOOLS={_tools(folder / 'tools')}",
        f"-DPython_EXECUTABLE={sys.executable}",
        *_python(target),
    ]
    for command in (
        configure,
        [*cmake, "--build", str(folder / "cmake"), "-j", os.environ.get("JOBS", "2")],
        [*cmake, "--install", str(folder / "cmake"), "--prefix", str(stage)],
    ):
        done = subprocess.run(command, env=environment, check=False, capture_output=True, text=True)
        # A warning of CMake, of the compiler or of the linker is an error.
        if done.returncode != 0 or "warning:" in (done.stdout + done.stderr).lower():
            print(done.stdout, done.stderr, sep="\n", file=sys.stderr)
            raise SystemExit(f"cross: {name} cannot be built")
    shutil.copytree(
        *(ROOT / "src", stage),
        ignore=shutil.ignore_patterns("*.so", "__pycache__"),
        dirs_exist_ok=True,
    )
    return stage


def main() -> int:
    """Build the targets that are named and return the exit code."""
    names = sys.argv[1:]
    if not names or not set(names) <= set(TARGETS):
        print(f"usage: cross.py TARGET...   one of: {' '.join(TARGETS)}", file=sys.stderr)
        return 2
    try:
        for name in names:
            print(f"{name}: {build(name)}")
    except Missing as missing:
        print(f"cross: {missing}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
