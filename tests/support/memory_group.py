"""A memory cgroup of a test's own, where one may be made: both versions of cgroups."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.process_tools import TESTS

_VERSIONS = (
    (Path("/sys/fs/cgroup/memory"), "memory.limit_in_bytes"),
    (Path("/sys/fs/cgroup"), "memory.max"),
)


@contextlib.contextmanager
def memory_group(limit: int) -> Iterator[Path]:
    """Make a group with a limit in bytes; the test is skipped where that is not allowed."""
    for base, name in _VERSIONS:
        folder = base / f"slipstream-test-{os.getpid()}-{time.monotonic_ns()}"
        try:
            folder.mkdir()
            (folder / name).write_text(str(limit))
        except OSError:
            with contextlib.suppress(OSError):
                folder.rmdir()
            continue
        try:
            yield folder
        finally:
            _remove(folder)
        return
    pytest.skip("no memory cgroup may be made here")


def _remove(folder: Path) -> None:
    end = time.monotonic() + 60
    while folder.exists():
        try:
            folder.rmdir()
        except OSError:  # somebody is still in it
            if time.monotonic() > end:
                raise
            time.sleep(0.05)


def run_python_in(
    group: Path, code: str, *arguments: object, timeout: float = 240
) -> subprocess.CompletedProcess[str]:
    """Run code in an interpreter that is in the group from its start on."""
    enter = f'echo $$ > {group}/cgroup.procs; exec "$@"'
    return subprocess.run(
        ["sh", "-c", enter, "sh", sys.executable, "-c", textwrap.dedent(code),
         *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
        env={**os.environ, "PYTHONPATH": str(TESTS)},
    )  # fmt: skip
