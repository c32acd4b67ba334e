"""Check a wheel: its name, what it holds, and that it works outside of this checkout.

python tools/check_wheel.py dist/slipstream-....whl

It is installed into a new environment in a folder for temporary files, where the header's own
example is compiled against the installed header and loaded.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
HEADER = "slipstream/include/slipstream.h"
WORKER = "slipstream/slipstream-worker"
NOOP = "slipstream/slipstream-noop.so"
CORE = "slipstream/_core.abi3.so"
TYPES = {"slipstream/py.typed", "slipstream/_core.pyi", "slipstream/_native/cdef.pyi"}
SHARED = {
    "slipstream/share/pkgconfig/slipstream.pc",
    "slipstream/share/cmake/slipstream/slipstream-config.cmake",
}
RUST = {
    f"slipstream/sdk/rust/{path.relative_to(ROOT / 'sdk' / 'rust')}"
    for path in (ROOT / "sdk" / "rust" / "slipstream-plugin").rglob("*")
    if path.name == "Cargo.toml" or path.suffix == ".rs"
}
REQUIRED = SHARED | RUST | {CORE, WORKER, HEADER, "slipstream/include/slipstream.hpp", NOOP} | TYPES

HOST = """
import pathlib, subprocess, sys
import slipstream
from slipstream import Block, EventKind, PluginManager

assert pathlib.Path(slipstream.__file__).is_relative_to(sys.prefix), slipstream.__file__
include = pathlib.Path(slipstream.get_include())
assert include.is_relative_to(sys.prefix), include
subprocess.run(["cc", "-std=c11", "-shared", "-fPIC", "-fvisibility=hidden", "-I", include,
                "-o", "minimal.so", "minimal.c"], check=True)
with PluginManager() as manager:
    plugin = manager.load_plugin({"libpath": "minimal.so", "mode": "inline"})
    assert manager.has_subscribers(EventKind.BLOCK)
    manager.broadcast(Block(b"a block", 1))
    assert plugin.counters.delivered == 1, plugin.counters
print("works", plugin.version)
"""


def check_contents(wheel: Path) -> list[str]:
    """Return what is wrong with a wheel's name and contents; an empty list if nothing is."""
    problems = []
    if not re.fullmatch(r"slipstream-[0-9.a-z]+-cp311-abi3-\w+\.whl", wheel.name):
        problems.append(f"{wheel.name} is no cp311-abi3 wheel")
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
        sources = {
            str(path.relative_to(ROOT / "src"))
            for path in (ROOT / "src").rglob("*")
            if path.is_file() and path.suffix not in {".pyc", ".so"}
        }
        problems += [f"{name} is missing" for name in sorted((REQUIRED | sources) - names)]
        allowed = re.compile(r"slipstream/|slipstream-[^/]+\.dist-info/")
        problems += [f"{name} does not belong there" for name in names if not allowed.match(name)]
        if HEADER in names and archive.read(HEADER) != (ROOT / "include/slipstream.h").read_bytes():
            problems.append(f"{HEADER} is not the one in include/")
        if WORKER in names and not archive.getinfo(WORKER).external_attr >> 16 & 0o111:
            problems.append(f"{WORKER} is not executable")
        for license_file in ("LICENSE", "NOTICE"):
            if not any(name.endswith(f"/licenses/{license_file}") for name in names):
                problems.append(f"{license_file} is missing")
    return problems


def check_installed(wheel: Path) -> None:
    """Install a wheel into a new environment and load a plugin there.

    Raises:
        subprocess.CalledProcessError: A step failed; its output was printed.
    """
    # Nothing of this process's environment may make the checkout importable.
    clean = {key: value for key, value in os.environ.items() if not key.startswith("PYTHON")}
    with tempfile.TemporaryDirectory(prefix="slipstream-wheel-") as name:
        folder = Path(name)
        python = str(folder / "venv" / "bin" / "python")
        example = (ROOT / "examples" / "minimal" / "minimal.c").read_bytes()
        (folder / "minimal.c").write_bytes(example)
        for command in (
            [sys.executable, "-m", "venv", str(folder / "venv")],
            [python, "-m", "pip", "install", "--quiet", str(wheel.resolve())],
            [python, "-c", HOST],
        ):
            subprocess.run(command, cwd=folder, env=clean, check=True, timeout=300)


def main() -> int:
    """Check the wheels that are named and return the exit code."""
    if len(sys.argv) == 1:
        print("usage: check_wheel.py WHEEL...", file=sys.stderr)
        return 2
    for wheel in map(Path, sys.argv[1:]):
        problems = check_contents(wheel)
        if problems:
            print(f"{wheel}:", *problems, sep="\n  ", file=sys.stderr)
            return 1
        check_installed(wheel)
        print(f"{wheel}: complete, and works in a new environment")
    return 0


if __name__ == "__main__":
    sys.exit(main())
