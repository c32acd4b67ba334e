"""Libraries for Windows, made here, and what a Python for Windows does with them under wine."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
BUILD = ROOT / "build" / "windows"
FLAGS = ["-fvisibility=hidden", "-shared", "-I", str(ROOT / "include")]
STANDARDS = {".c": ("cc", "-std=c11"), ".cpp": ("c++", "-std=c++17")}
MISSING = 77  # what tools/windows.py exits with where something cannot be had

LONG = bool(os.environ.get("SLIPSTREAM_LONG"))
HAS_WINE = any(map(shutil.which, ("wine64", "wine", "/usr/lib/wine/wine64")))

MARKS = [
    pytest.mark.no_asan,
    pytest.mark.skipif(not HAS_WINE and not LONG, reason="no wine here: apt-get install wine64"),
]
LONG_MARKS = [
    pytest.mark.no_asan,
    pytest.mark.skipif(not LONG, reason="builds for minutes: make test-windows"),
]


def zig() -> str:
    ziglang = pytest.importorskip("ziglang")
    return str(Path(ziglang.__file__).parent / "zig")


def compile_for_windows(made: Path, source: Path, *flags: str) -> None:
    """A .dll of a source in C or C++."""
    compiler, standard = STANDARDS[source.suffix]
    target = ["-target", "x86_64-windows-gnu"]
    command = [zig(), compiler, *target, standard, *FLAGS, *flags, "-o", str(made), str(source)]
    done = subprocess.run(command, check=False, timeout=850, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def compile_here(made: Path, source: Path, *flags: str) -> None:
    """A library for this machine of the same source."""
    compiler, standard = STANDARDS[source.suffix]
    command = [compiler, standard, "-fPIC", *FLAGS, *flags, "-o", str(made), str(source)]
    subprocess.run(command, check=True, timeout=600, capture_output=True)


def convert(source: Path, made: Path) -> None:
    """A file of events in another form, by the command here."""
    command = [sys.executable, "-m", "slipstream", "convert", str(source), str(made)]
    subprocess.run(command, check=True, timeout=600, capture_output=True)


@contextmanager
def folder_there() -> Iterator[Path]:
    """Not in the folder for temporary files: there anybody may do anything, for Windows."""
    BUILD.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="test-", dir=BUILD) as name:
        made = Path(name)
        made.chmod(0o755)
        yield made


@contextmanager
def locked(name: str) -> Iterator[None]:
    """What others who want the same wait for."""
    BUILD.mkdir(parents=True, exist_ok=True)
    with (BUILD / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


@contextmanager
def shared_folder() -> Iterator[Path]:
    """One for all workers of a run, one after the other; what older runs left is removed."""
    run = os.environ.get("PYTEST_XDIST_TESTRUNUID", str(os.getpid()))
    made = BUILD / f"shared-{run}"
    with locked("shared"):
        for old in set(BUILD.glob("shared-*")) - {made}:
            shutil.rmtree(old)
        made.mkdir(mode=0o755, exist_ok=True)
        yield made


def there(path: Path) -> str:
    """A path as Windows programs under wine name it."""
    return "Z:" + str(path).replace("/", "\\")


def under_wine(script: Path, *arguments: str, timeout: float = 850) -> subprocess.CompletedProcess:
    """What a script does there; the test is skipped where it cannot be run, or fails if LONG."""
    command = [sys.executable, str(ROOT / "tools" / "windows.py"), there(script), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=timeout, check=False)
    if done.returncode == MISSING:
        (pytest.fail if LONG else pytest.skip)(done.stderr.strip())
    return done


def results(done: subprocess.CompletedProcess) -> dict[str, Any]:
    """What each function of a script has found, which it prints as a line of JSON each."""
    lines = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    failed = "\n".join(line["failed"] for line in lines if "failed" in line)
    assert not failed, failed
    assert done.returncode == 0, done.stderr
    return {line["test"]: line["found"] for line in lines}
