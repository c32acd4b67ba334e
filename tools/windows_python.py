"""A Python for Windows and what it needs, fetched into build/windows: for tests, and to link with.

What is downloaded is pinned in tests/windows by its SHA-256.
"""

from __future__ import annotations

import subprocess
import sys
import tarfile
import tempfile
import zipfile
from pathlib import Path

import zig
from fetched import Missing, once, run
from fetched import site as fetched_site

ROOT = Path(__file__).resolve().parents[1]
BUILD = ROOT / "build" / "windows"
PINS = ROOT / "tests" / "windows"


def _fetch_python(folder: Path) -> None:
    with tempfile.TemporaryDirectory() as name:
        run(
            *(sys.executable, "-m", "pip", "--disable-pip-version-check", "download", "--quiet"),
            *("--no-deps", "--no-binary", ":all:", "--require-hashes"),
            *("--dest", name, "--requirement", str(PINS / "python.txt")),
        )
        (archive,) = Path(name).glob("*.tar.gz")
        with tarfile.open(archive) as files:
            (packed,) = (one for one in files.getnames() if one.endswith("/data.zip"))
            data = files.extractfile(packed)
            if data is None:
                raise Missing(f"{packed} is not a file in {archive.name}")
            with zipfile.ZipFile(data) as whole:
                whole.extractall(folder)  # noqa: S202 - its digest is pinned
    _add_missing(folder)


def _add_missing(folder: Path) -> None:
    """Put beside python.exe what libraries made by Rust ask for, and wine 8 does not have."""
    (python,) = folder.iterdir()
    source = folder / "random.c"
    source.write_text(
        "int __stdcall SystemFunction036(void *, unsigned);\n"
        "__declspec(dllexport) int __stdcall ProcessPrng(void *out, unsigned long long len) {\n"
        "    return SystemFunction036(out, (unsigned)len);\n}\n",
        encoding="utf-8",
    )
    library = python / "bcryptprimitives.dll"
    command = [zig.path(), "cc", "-target", "x86_64-windows-gnu", "-shared", "-o", str(library)]
    subprocess.run([*command, str(source), "-ladvapi32"], check=True)
    source.unlink()
    for left in ("pdb", "lib"):
        library.with_suffix(f".{left}").unlink(missing_ok=True)


def python() -> Path:
    """Return the folder of a Python for Windows.

    Raises:
        Missing: It cannot be had.
    """
    (folder,) = once(BUILD / "python", _fetch_python).iterdir()
    return folder


def site() -> Path:
    """Return the folder with the libraries that slipstream and its tests need there.

    Raises:
        Missing: They cannot be had.
    """
    pins = PINS / "requirements.txt"
    return once(BUILD / "site", lambda folder: fetched_site(folder, pins, ["win_amd64"], "3.13"))
