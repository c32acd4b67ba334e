"""Looks at this process, for what a load must not leave behind; and starts others."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
import threading
from dataclasses import dataclass
from pathlib import Path

TESTS = Path(__file__).resolve().parents[1]


def open_descriptors() -> set[str]:
    """What the descriptors of this process refer to, with their numbers."""
    found = set()
    for name in os.listdir("/proc/self/fd"):
        try:
            found.add(f"{name} {os.readlink(f'/proc/self/fd/{name}')}")
        except FileNotFoundError:
            continue  # the one that listed the folder
    return found


def mapped_files() -> set[str]:
    """The files that are mapped into this process."""
    with open("/proc/self/maps", encoding="utf-8", errors="surrogateescape") as maps:
        lines = [line.split(maxsplit=5) for line in maps]
    return {parts[5].strip() for parts in lines if len(parts) == 6 and parts[5].startswith("/")}


def mapped_copies() -> set[str]:
    """The private copies of libraries that are mapped into this process."""
    return {path for path in mapped_files() if ".slipstream-copy" in path}


def thread_names() -> list[str]:
    """The names of this process's threads, native ones too."""
    names = []
    for task in os.listdir("/proc/self/task"):
        try:
            names.append(Path(f"/proc/self/task/{task}/comm").read_text().strip())
        except (FileNotFoundError, ProcessLookupError):
            continue
    return sorted(names)


def native_threads() -> list[str]:
    """The names of the core's own threads."""
    return [name for name in thread_names() if name.startswith("slip-")]


def instance_threads() -> list[str]:
    """The names of those that belong to instances."""
    return [name for name in native_threads() if name.removeprefix("slip-").isdecimal()]


@dataclass(frozen=True)
class Footprint:
    """What a load must not leave behind."""

    descriptors: set[str]
    copies: set[str]
    native: list[str]
    python_threads: int

    @classmethod
    def now(cls) -> Footprint:
        return cls(open_descriptors(), mapped_copies(), native_threads(), threading.active_count())


def copies_in(folder: Path) -> list[str]:
    """The private copies that lie in a folder."""
    return sorted(path.name for path in folder.glob(".*.slipstream-copy"))


def run_python(
    code: str, *arguments: object, timeout: float = 60
) -> subprocess.CompletedProcess[str]:
    """Run code in an interpreter of its own, which may import from `support`."""
    return subprocess.run(
        [sys.executable, "-X", "faulthandler", "-c", textwrap.dedent(code), *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
        env={**os.environ, "PYTHONPATH": str(TESTS)},
    )
