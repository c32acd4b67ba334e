"""A Python for Windows under wine, with what the tests need: for tests only, never shipped.

python tools/windows.py ARGUMENT...     runs its python.exe with what tools/cross.py has built

All of it lies in build/windows. What is downloaded is pinned in tests/windows by its SHA-256.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
BUILD = ROOT / "build" / "windows"
PINS = ROOT / "tests" / "windows"
WINE = ("wine64", "wine", "/usr/lib/wine/wine64")


class Missing(Exception):
    """Something that is not to be had on this machine; says what."""


def _pip(*arguments: str) -> None:
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", *arguments]
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=600)
    if done.returncode != 0:
        raise Missing(f"pip {arguments[0]}: {done.stderr.strip().splitlines()[-1:]}")


def _once(folder: Path, make: Callable[[Path], None]) -> Path:
    """Make a folder unless it is there whole: it gets its name when it is done."""
    if not folder.is_dir():
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder.parent) as name:
            made = Path(name) / "made"
            make(made)
            made.rename(folder)
    return folder


def _fetch_python(folder: Path) -> None:
    with tempfile.TemporaryDirectory() as name:
        _pip(
            *("download", "--quiet", "--no-deps", "--no-binary", ":all:", "--require-hashes"),
            *("--dest", name, "--requirement", str(PINS / "python.txt")),
        )
        (archive,) = Path(name).glob("*.tar.gz")
        with tarfile.open(archive) as files:
            (packed,) = (one for one in files.getnames() if one.endswith("/data.zip"))
            files.extract(packed, archive.parent, filter="data")
        with zipfile.ZipFile(archive.parent / packed) as whole:
            whole.extractall(folder)  # noqa: S202 - its digest is pinned
    _add_missing(folder)


def python() -> Path:
    """Return the folder of a Python for Windows.

    Raises:
        Missing: It cannot be had.
    """
    (folder,) = _once(BUILD / "python", _fetch_python).iterdir()
    return folder


def _add_missing(folder: Path) -> None:
    """Put beside python.exe what libraries made by Rust ask for, and wine 8 does not have."""
    import cross  # noqa: PLC0415 - it stands beside this file, and asks this one

    (python,) = folder.iterdir()
    source = folder / "random.c"
    source.write_text(
        "int __stdcall SystemFunction036(void *, unsigned);\n"
        "__declspec(dllexport) int __stdcall ProcessPrng(void *out, unsigned long long len) {\n"
        "    return SystemFunction036(out, (unsigned)len);\n}\n",
        encoding="utf-8",
    )
    library = python / "bcryptprimitives.dll"
    command = [cross.zig(), "cc", "-target", "x86_64-windows-gnu", "-shared", "-o", str(library)]
    subprocess.run([*command, str(source), "-ladvapi32"], check=True)
    source.unlink()
    for left in ("pdb", "lib"):
        library.with_suffix(f".{left}").unlink(missing_ok=True)


def _fetch_site(folder: Path) -> None:
    _pip(
        *("install", "--quiet", "--no-deps", "--require-hashes", "--target", str(folder)),
        *("--platform", "win_amd64", "--python-version", "3.13", "--only-binary", ":all:"),
        *("--no-compile", "--requirement", str(PINS / "requirements.txt")),
    )


def site() -> Path:
    """Return the folder with the libraries that slipstream and its tests need there.

    Raises:
        Missing: They cannot be had.
    """
    return _once(BUILD / "site", _fetch_site)


def wine() -> str:
    """Return the path of wine.

    Raises:
        Missing: There is none.
    """
    for name in WINE:
        found = shutil.which(name)
        if found is not None:
            return found
    raise Missing("wine64 is not installed")


def path(there: Path) -> str:
    """Return a path as Windows programs under wine name it."""
    return "Z:" + str(there.resolve()).replace("/", "\\")


def environment(*folders: Path) -> dict[str, str]:
    """Return the environment that its programs run in, where Python finds these folders first."""
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "TMPDIR") if name in os.environ}
    return {
        **kept,
        "WINEPREFIX": str(BUILD / "prefix"),
        "WINEDEBUG": "-all",
        # Nothing here wants .NET, a browser or menus; who crashes ends, and waits for no debugger.
        "WINEDLLOVERRIDES": "mscoree,mshtml,winemenubuilder.exe,winedbg.exe=",
        "PYTHONPATH": ";".join(map(path, [*folders, site()])),
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONUTF8": "1",
    }


def command(*arguments: str) -> list[str]:
    """Return the command that runs its python.exe with these arguments."""
    return [wine(), str(python() / "python.exe"), *arguments]


def main() -> int:
    """Run its python.exe and return the exit code; 77 where something for it is missing."""
    import cross  # noqa: PLC0415 - it stands beside this file, and asks this one

    try:
        start = command(*sys.argv[1:])
        folders = environment(cross.build("windows-x86_64", quickly=True))
    except Missing as missing:
        print(f"windows: {missing}", file=sys.stderr)
        return 77
    return subprocess.run(start, env=folders, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
