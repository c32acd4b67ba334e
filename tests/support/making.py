"""Runs make in a folder of the project, one test process at a time."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def run_make(
    folder: Path, *arguments: str, **environment: str
) -> subprocess.CompletedProcess[str] | None:
    """Run make there; what another test process makes meanwhile is waited for.

    Args:
        folder: Where the makefile is.
        arguments: Targets and variables.
        environment: Variables on top of this process's own.

    Returns:
        The finished process with its output as text; None where there is no make.
    """
    tool = shutil.which("make")
    if tool is None:
        return None
    lock = ROOT / "build" / "make.lock"
    lock.parent.mkdir(exist_ok=True)
    with lock.open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        return subprocess.run(
            [tool, "--no-print-directory", "-C", str(folder), *arguments],
            capture_output=True,
            text=True,
            timeout=1200,
            check=False,
            env={**os.environ, **environment},
        )


def make_native_tests(*targets: str) -> Path:
    """The programs of tests/native and tests/fuzz; only what has changed is compiled again."""
    folder = ROOT / "build" / "native-tests"
    done = run_make(ROOT / "tests" / "native", "-s", "-j2", f"BUILD={folder}", *targets)
    assert done is not None, "no make on this machine"
    assert done.returncode == 0, done.stderr[-4000:]
    return folder
