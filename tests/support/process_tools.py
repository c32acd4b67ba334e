"""Looks at this process, for what a load must not leave behind; and starts others."""

from __future__ import annotations

import contextlib
import ctypes
import gc
import os
import subprocess
import sys
import textwrap
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

TESTS = Path(__file__).resolve().parents[1]


def open_descriptors() -> set[str]:
    """What the descriptors of this process refer to, with their numbers."""
    found = set()
    if os.name != "posix":
        for number in range(256):
            with contextlib.suppress(OSError):
                found.add(f"{number} {os.fstat(number)}")
        return found
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


class MallInfo(ctypes.Structure):
    """What glibc's mallinfo2 returns."""

    _fields_ = [
        (name, ctypes.c_size_t)
        for name in "arena ordblks smblks hblks hblkhd usmblks fsmblks uordblks fordblks keepcost".split()
    ]


def heap_kib() -> int:
    """What was allocated by malloc and not freed; 0 where the C library does not tell."""
    ask = getattr(ctypes.CDLL(None), "mallinfo2", None)
    if ask is None:
        return 0
    ask.restype = MallInfo
    info = ask()
    return (info.uordblks + info.hblkhd) // 1024


def anonymous_kib() -> int:
    """Memory of this process that no file is behind, exactly; statm counts in lumps."""
    lines = Path("/proc/self/smaps_rollup").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("Anonymous:")).split()[1])


class Growth(NamedTuple):
    """How much a round keeps: the least of some rounds.

    What leaks does so in every round; what else grows ends some time, on a busy machine later.
    The pages of a process say little by themselves: threads that met by chance have arenas of
    their own, and what is freed is not given back.
    """

    heap_kib: int
    python_blocks: int
    pages_kib: int

    @classmethod
    def of(cls, round_: Callable[[], object], rounds: int = 4) -> Growth:
        def look() -> tuple[int, int, int]:
            gc.collect()
            return heap_kib(), sys.getallocatedblocks(), anonymous_kib()

        grown = []
        for _ in range(rounds):
            before = look()
            round_()
            grown.append([now - then for now, then in zip(look(), before, strict=True)])
        return cls(*map(min, zip(*grown, strict=True)))


@dataclass(frozen=True)
class Footprint:
    """What a load must not leave behind."""

    descriptors: set[str]
    copies: set[str]
    native: list[str]
    python_threads: int
    shared: int

    @classmethod
    def now(cls) -> Footprint:
        descriptors, copies, native = open_descriptors(), mapped_copies(), native_threads()
        return cls(descriptors, copies, native, threading.active_count(), shared_mappings())


def shared_mappings() -> int:
    """How many mappings of the core's memory files this process has."""
    return Path("/proc/self/maps").read_text().count("/memfd:slipstream ")


def copies_in(folder: Path) -> list[str]:
    """The private copies that lie in a folder."""
    return sorted(path.name for path in folder.glob(".*.slipstream-copy"))


def run_python(
    code: str, *arguments: object, timeout: float = 600
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
