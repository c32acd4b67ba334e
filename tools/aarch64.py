"""Debian's Python for aarch64 under qemu-user, with the core for it: for tests only, never shipped.

python tools/aarch64.py ARGUMENT...     runs it with what tools/cross.py builds, or with what lies
                                        in the wheel that SLIPSTREAM_WHEEL names

All of it lies in build/aarch64: Debian's packages as apt-get has checked them, wheels pinned by
their SHA-256 in tests/elsewhere. This system does not know how to start programs of that machine,
so each is started by a script beside it.
"""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

from fetched import Missing, debian, locked, once, site

ROOT = Path(__file__).resolve().parents[1]
BUILD = ROOT / "build" / "aarch64"
NAME = "linux-aarch64"  # of the target in tools/cross.py
PYTHON = "3.11"
PACKAGES = (
    *(f"python{PYTHON}-minimal", f"libpython{PYTHON}-minimal", f"libpython{PYTHON}-stdlib"),
    *("libc6", "libgcc-s1", "libstdc++6", "libexpat1", "libffi8", "libssl3", "libsqlite3-0"),
    *("libbz2-1.0", "liblzma5", "libuuid1", "zlib1g"),
)
WHEELS = ("manylinux_2_28_aarch64", "manylinux2014_aarch64", "manylinux_2_17_aarch64")


def _root() -> Path:
    return once(BUILD / "root", lambda folder: debian(folder, "arm64", PACKAGES))


def _site() -> Path:
    pins = ROOT / "tests" / "elsewhere" / "aarch64.txt"
    return once(BUILD / "site", lambda folder: site(folder, pins, WHEELS, PYTHON))


def _write_starter(script: Path, program: str) -> None:
    """Write what starts a program of that machine: `program` is a word of sh."""
    qemu = shutil.which("qemu-aarch64")
    if qemu is None:
        raise Missing("qemu-aarch64 is not installed (apt-get install qemu-user)")
    words = f'{qemu} -L {shlex.quote(str(_root()))} {program} "$@"'
    script.write_text(f"#!/bin/sh\nexec {words}\n", encoding="utf-8")
    script.chmod(0o755)


def starter() -> Path:
    """Return the script that starts Python for aarch64.

    Raises:
        Missing: It cannot be had.
    """
    folder = BUILD / "bin"
    folder.mkdir(parents=True, exist_ok=True)
    script = folder / "python"
    _write_starter(script, shlex.quote(str(_root() / "usr" / "bin" / f"python{PYTHON}")))
    return script


def lay_out(stage: Path) -> Path:
    """Copy a package as it lies in a wheel, with scripts that start its programs.

    Args:
        stage: The folder with `slipstream/`.

    Raises:
        Missing: There is no qemu.
    """
    folder = BUILD / "stage"
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(stage, folder)
    for name in ("slipstream-worker", "slipstream-check"):
        program = folder / "slipstream" / name
        real = program.rename(program.with_name(f"{name}.aarch64"))
        real.chmod(0o755)
        _write_starter(program, '"$0.aarch64"')
    return folder


def environment(stage: Path) -> dict[str, str]:
    """Return the environment in which its Python finds a package that was laid out.

    Raises:
        Missing: What it needs cannot be had.
    """
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    return {**kept, "PYTHONPATH": f"{stage}:{_site()}", "PYTHONDONTWRITEBYTECODE": "1"}


def _package() -> Path:
    wheel = os.environ.get("SLIPSTREAM_WHEEL")
    if wheel is None:
        import cross  # noqa: PLC0415 - of no use for a wheel

        return cross.build(NAME)
    folder = BUILD / "wheel"
    shutil.rmtree(folder, ignore_errors=True)
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder)
    return folder


def main() -> int:
    """Run its Python and return the exit code; 77 where something for it is missing."""
    try:
        with locked(BUILD / "run"):  # the next one lays out anew what this one runs with
            python = starter()
            around = environment(lay_out(_package()))
            return subprocess.run([python, *sys.argv[1:]], env=around, check=False).returncode
    except Missing as missing:
        print(f"aarch64: {missing}", file=sys.stderr)
        return 77


if __name__ == "__main__":
    sys.exit(main())
