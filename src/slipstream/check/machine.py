"""What this machine can do for the host: each thing is really tried.

What the core asks of the system, the core tries itself, with the calls that it makes
(``native/platform``); here stands what each of them is for, and what is done without it.
"""

from __future__ import annotations

import errno
import itertools
import mmap
import platform
import sys
import sysconfig
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import NoReturn

from slipstream import __version__
from slipstream._native import ffi, lib, text
from slipstream._platform import HAS_PROCESS_MODE, c_library, limit_of, map_executable

_PAGE = mmap.PAGESIZE
_FEWEST_FILES = 256
_FEWEST_THREADS = 64

_PROCESS = "mode process"
# Purpose, and what is done without it, by the system's name for what the core tries.
_CORE = {
    "memfd_create": (f"{_PROCESS}: the ring", ""),
    "seals": (f"{_PROCESS}: a worker cannot shrink the host's memory", ""),
    "F_SEAL_FUTURE_WRITE": (f"{_PROCESS}: a worker only reads the ring", ""),
    "shared futex": (f"{_PROCESS}: to wake a worker", ""),
    "pidfd_open": (f"{_PROCESS}: to see at once that a worker has ended", ""),
    "membarrier": (
        "modes thread, process: sending without a fence",
        "a fence for each batch that is sent",
    ),
    "PR_SET_PDEATHSIG": (
        f"{_PROCESS}: a worker ends with the host",
        "the worker watches a pidfd of the host",
    ),
    "process_vm_readv": (
        "to check a plugin's pointers before they are used",
        "the same through a pipe, slower",
    ),
    "MADV_WIPEONFORK": (
        "to notice a fork at the cost of one read",
        "getpid() is asked each time",
    ),
    "/proc/self/maps": (
        "to check a plugin's functions, that it is unmapped, and where it crashed",
        "libraries stay mapped in modes inline and thread; crash reports name no file",
    ),
    "setuid": (f"{_PROCESS}: `user` in a config", "workers run as the host's user"),
    # Windows.
    "MapViewOfFile": ("mode thread: the ring", ""),
    "MEM_RESERVE_PLACEHOLDER": (
        "mode thread: to map the ring twice in one step",
        "it is tried again",
    ),
    "WaitOnAddress": ("mode thread: to wake a plugin's thread", ""),
    "FlushProcessWriteBuffers": (
        "mode thread: sending without a fence",
        "a fence for each batch that is sent",
    ),
    "ReadProcessMemory": ("to check a plugin's pointers before they are used", ""),
    "VirtualQuery": ("to check a plugin's functions", ""),
    "CreateToolhelp32Snapshot": (
        "to see whether a library keeps a thread",
        "libraries stay mapped in modes inline and thread",
    ),
}


class State(StrEnum):
    """What came out of a check."""

    OK = "ok"
    FALLBACK = "fallback"
    MISSING = "missing"


@dataclass(frozen=True, slots=True)
class Finding:
    """The result of one check of the machine.

    Attributes:
        name: What was tried.
        state: MISSING where there is neither it nor a fallback.
        detail: What was found.
        purpose: What it is for.
        fallback: What is done without it; "" for nothing.
    """

    name: str
    state: State
    detail: str
    purpose: str
    fallback: str


def examine() -> list[Finding]:
    """Try everything; takes a fraction of a second where all is well. Starts children."""
    return [*_tried_by_the_core(), *_told_by_the_system(), *(check.run() for check in _CHECKS)]


def _finding(name: str, detail: str, purpose: str, fallback: str, *, works: bool) -> Finding:
    without = State.FALLBACK if fallback else State.MISSING
    return Finding(name, State.OK if works else without, detail, purpose, fallback)


def _tried_by_the_core() -> Iterator[Finding]:
    trial = ffi.new("ss_os_trial *")
    for number in itertools.count():
        if not lib.ss_os_try(number, trial):
            return
        name = text(trial.name)
        yield _finding(name, text(trial.found), *_CORE[name], works=trial.works)


def _told_by_the_system() -> Iterator[Finding]:
    if not HAS_PROCESS_MODE:
        without = "plugins run inline or in threads, and a crash of one ends the host"
        found = "exists on Linux only"
        yield _finding(_PROCESS, found, "a crash of a plugin leaves the host", without, works=False)


# ---- What the package itself asks for ----------------------------------------------------------


def _fail(reason: str) -> NoReturn:
    raise OSError(errno.ENOSYS, reason)


@dataclass(frozen=True, slots=True)
class _Check:
    name: str
    probe: Callable[[], str]
    purpose: str
    fallback: str = ""

    def run(self) -> Finding:
        works, detail = False, ""
        try:
            detail = self.probe()
            works = True
        except OSError as error:
            detail = error.strerror or f"{error}"
        except (AttributeError, ValueError) as error:
            detail = f"{error}"
        return _finding(self.name, detail, self.purpose, self.fallback, works=works)


def _try_temp_folder() -> str:
    with tempfile.TemporaryFile() as file:
        file.write(bytes(_PAGE))
        file.flush()
        map_executable(file.fileno(), _PAGE)
    return tempfile.gettempdir()


def _limit(which: str, fewest: int) -> str:
    found = limit_of(which)
    if found is None:
        return "none on this system"
    soft, hard = ("unlimited" if number is None else f"{number}" for number in found)
    if found[0] is not None and found[0] < fewest:
        raise ValueError(f"only {soft}; at least {fewest} are wanted")
    return f"{soft}, at most {hard}"


def _about_python() -> str:
    free = bool(sysconfig.get_config_var("Py_GIL_DISABLED"))
    return f"{platform.python_implementation()} {platform.python_version()}" + (
        ", free-threaded" if free else ", with interpreter lock"
    )


def _about_libc() -> str:
    return c_library() or _fail("not the GNU C library")


def _about_core() -> str:
    abi = f"{lib.SLIPSTREAM_ABI_MAJOR}.{lib.SLIPSTREAM_ABI_MINOR}"
    file = str(sys.modules["slipstream._core"].__file__)
    kind = "stable ABI" if ".abi3." in file else "ABI of this Python only"
    return f"slipstream {__version__}, plugin ABI {abi}, {kind}"


_CHECKS = (
    _Check(
        "executable temp folder",
        _try_temp_folder,
        "private copies of libraries from folders that are read-only",
        "set TMPDIR to a folder that is not mounted noexec, or make the library's writable",
    ),
    _Check(
        "open files",
        lambda: _limit("open files", _FEWEST_FILES),
        "several for each plugin",
        "raise it: ulimit -n 1024",
    ),
    _Check(
        "threads and processes",
        lambda: _limit("processes", _FEWEST_THREADS),
        "one or two for each plugin",
        "raise it: ulimit -u 1024",
    ),
    _Check("locked memory", lambda: _limit("locked memory", 0), "for plugins that lock it"),
    _Check("Python", _about_python, "the host"),
    _Check(
        "C library",
        _about_libc,
        "to unload and reload libraries",
        "libraries stay mapped; reload works with a new copy",
    ),
    _Check("core", _about_core, "everything native"),
)
