"""What this machine can do for the host: each thing is really tried."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import fcntl
import mmap
import os
import platform
import resource
import select
import signal
import struct
import sys
import sysconfig
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from typing import NoReturn

from slipstream import __version__, _native

_PATIENCE = 2.0
_PAGE = mmap.PAGESIZE

# What Python's modules have no name for; numbers of the Linux ABI.
_MADV_WIPEONFORK = 18
_F_SEAL_FUTURE_WRITE = 0x10
_PR_SET_PDEATHSIG = 1
_FUTEX_WAIT, _FUTEX_WAKE = 0, 1
_MEMBARRIER_PRIVATE_EXPEDITED, _MEMBARRIER_REGISTER = 1 << 3, 1 << 4
# futex and membarrier; the numbers of arm64 are those of all newer architectures.
_SYSCALLS = {"x86_64": (202, 324), "aarch64": (98, 283), "riscv64": (98, 283)}

_FEWEST_FILES = 256
_FEWEST_THREADS = 64


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


@dataclass(frozen=True, slots=True)
class _Check:
    name: str
    probe: Callable[[], str]
    purpose: str
    fallback: str = ""

    def run(self) -> Finding:
        state, detail = State.OK, ""
        try:
            detail = self.probe()
        except (OSError, AttributeError, ValueError) as error:
            state = State.FALLBACK if self.fallback else State.MISSING
            is_plain = isinstance(error, OSError) and error.strerror
            detail = f"{error.strerror}" if is_plain else f"{error}"  # type: ignore[union-attr]
        return Finding(self.name, state, detail, self.purpose, self.fallback)


def examine() -> list[Finding]:
    """Try everything; takes a fraction of a second. For a process with one thread: it forks."""
    return [check.run() for check in _CHECKS]


# ---- Help ------------------------------------------------------------------------------------


def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


def _require(result: int) -> int:
    """Return a C function's result; a negative one is raised by its errno."""
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return result


def _fail(reason: str) -> NoReturn:
    raise OSError(errno.ENOSYS, reason)


def _syscalls() -> tuple[int, int]:
    numbers = _SYSCALLS.get(platform.machine())
    return numbers or _fail(f"not tested: no system call numbers for {platform.machine()}")


def _child(work: Callable[[], int]) -> int:
    """Run `work` in a forked child; returns its process id."""
    pid = os.fork()
    if pid == 0:
        code = 99
        with contextlib.suppress(BaseException):
            code = work()
        os._exit(code)
    return pid


def _code_of(pid: int) -> int:
    """Wait for a child; one that does not end in time is killed."""
    end = time.monotonic() + 2 * _PATIENCE
    while time.monotonic() < end:
        ended, status = os.waitpid(pid, os.WNOHANG)
        if ended:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.001)
    os.kill(pid, signal.SIGKILL)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


@contextmanager
def _memfd(flags: int) -> Iterator[int]:
    descriptor = os.memfd_create("slipstream-doctor", flags)
    try:
        os.ftruncate(descriptor, _PAGE)
        yield descriptor
    finally:
        os.close(descriptor)


# ---- The probes --------------------------------------------------------------------------------


def _try_memfd() -> str:
    with _memfd(os.MFD_CLOEXEC) as descriptor, mmap.mmap(descriptor, _PAGE) as memory:
        memory[:4] = b"slip"
        if os.pread(descriptor, 4, 0) != b"slip":
            _fail("what was written is not there")
    return "created and mapped"


def _try_seals() -> str:
    with _memfd(os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING) as descriptor:
        fcntl.fcntl(descriptor, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW)
        for size in (0, 2 * _PAGE):
            with contextlib.suppress(PermissionError):
                os.ftruncate(descriptor, size)
                _fail("a sealed file could be resized")
    return "a sealed file cannot be resized"


def _try_future_write() -> str:
    with (
        _memfd(os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING) as descriptor,
        mmap.mmap(descriptor, _PAGE) as memory,
    ):
        fcntl.fcntl(descriptor, fcntl.F_ADD_SEALS, _F_SEAL_FUTURE_WRITE)
        with contextlib.suppress(PermissionError):
            mmap.mmap(descriptor, _PAGE).close()
            _fail("a sealed file could be mapped for writing")
        memory[:1] = b"x"
    return "only the first mapping can write"


def _try_futex() -> str:
    libc, futex = _libc(), _syscalls()[0]
    with _memfd(os.MFD_CLOEXEC) as descriptor, mmap.mmap(descriptor, _PAGE) as memory:
        # By its address: an object over the mapping would keep it from being unmapped.
        word = ctypes.c_void_p(ctypes.addressof(ctypes.c_uint32.from_buffer(memory)))

        def call(operation: int, value: int, timeout: object) -> int:
            return int(libc.syscall(futex, word, operation, value, timeout, None, 0))

        timeout = ctypes.create_string_buffer(struct.pack("qq", int(_PATIENCE), 0))
        pid = _child(lambda: -call(_FUTEX_WAIT, 0, timeout))
        end = time.monotonic() + _PATIENCE
        while call(_FUTEX_WAKE, 1, None) < 1 and time.monotonic() < end:
            time.sleep(0.001)
        code = _code_of(pid)
    return "woke another process" if code == 0 else _fail("another process was not woken")


def _try_pidfd() -> str:
    pid = _child(lambda: 0)
    try:
        descriptor = os.pidfd_open(pid)
        ended = select.select([descriptor], [], [], _PATIENCE)[0]
        os.close(descriptor)
    finally:
        _code_of(pid)
    return "told of a child's end" if ended else _fail("did not tell of a child's end")


def _try_membarrier() -> str:
    libc, membarrier = _libc(), _syscalls()[1]
    _require(libc.syscall(membarrier, _MEMBARRIER_REGISTER, 0, 0))
    _require(libc.syscall(membarrier, _MEMBARRIER_PRIVATE_EXPEDITED, 0, 0))
    return "private expedited"


def _try_process_vm_readv() -> str:
    class Vector(ctypes.Structure):
        _fields_ = (("base", ctypes.c_void_p), ("length", ctypes.c_size_t))

    source, target = ctypes.create_string_buffer(b"slip"), ctypes.create_string_buffer(5)
    local = Vector(ctypes.addressof(target), 5)
    remote = Vector(ctypes.addressof(source), 5)
    read = _libc().process_vm_readv
    read.restype = ctypes.c_ssize_t
    size = read(os.getpid(), ctypes.byref(local), 1, ctypes.byref(remote), 1, 0)
    _require(size)
    return "read own memory" if target.value == b"slip" else _fail("read something else")


def _try_wipe_on_fork() -> str:
    with mmap.mmap(-1, _PAGE, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS) as memory:
        memory[0] = 1
        memory.madvise(_MADV_WIPEONFORK)
        wiped = _code_of(_child(lambda: memory[0])) == 0
    return "wiped in a child" if wiped else _fail("not wiped in a child")


def _try_parent_death() -> str:
    """A grandchild that asks for SIGKILL must end, and its end of the pipe with it."""
    reader, writer = os.pipe()

    def grandchild() -> int:
        _require(_libc().prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0))
        os.write(writer, b"r")
        time.sleep(2 * _PATIENCE)
        return 0

    def child() -> int:
        _child(grandchild)
        return 0 if select.select([reader], [], [], _PATIENCE)[0] and os.read(reader, 1) else 1

    try:
        code = _code_of(_child(child))
        os.close(writer)
        ended = select.select([reader], [], [], _PATIENCE)[0]
    finally:
        os.close(reader)
    if code != 0:
        _fail("prctl refused it")
    return "a child ended with its parent" if ended else _fail("a child outlived its parent")


def _try_maps() -> str:
    with open("/proc/self/maps", "rb") as maps:  # noqa: PTH123 - as the core does it
        count = len(maps.readlines())
    return f"{count} mappings" if count else _fail("it is empty")


def _try_temp_folder() -> str:
    with tempfile.TemporaryFile() as file:
        file.write(bytes(_PAGE))
        file.flush()
        protection = mmap.PROT_READ | mmap.PROT_EXEC
        mmap.mmap(file.fileno(), _PAGE, flags=mmap.MAP_PRIVATE, prot=protection).close()
    return tempfile.gettempdir()


def _limit(which: int, fewest: int) -> str:
    soft, hard = resource.getrlimit(which)

    def text(number: int) -> str:
        return "unlimited" if number == resource.RLIM_INFINITY else f"{number}"

    if soft != resource.RLIM_INFINITY and soft < fewest:
        raise ValueError(f"only {soft}; at least {fewest} are wanted")
    return f"{text(soft)}, at most {text(hard)}"


def _about_python() -> str:
    free = bool(sysconfig.get_config_var("Py_GIL_DISABLED"))
    return f"{platform.python_implementation()} {platform.python_version()}" + (
        ", free-threaded" if free else ", with interpreter lock"
    )


def _about_libc() -> str:
    return os.confstr("CS_GNU_LIBC_VERSION") or _fail("not the GNU C library")


def _about_core() -> str:
    abi = f"{_native.lib.SLIPSTREAM_ABI_MAJOR}.{_native.lib.SLIPSTREAM_ABI_MINOR}"
    file = str(sys.modules["slipstream._core"].__file__)
    kind = "stable ABI" if ".abi3." in file else "ABI of this Python only"
    return f"slipstream {__version__}, plugin ABI {abi}, {kind}"


_PROCESS = "mode process"
_CHECKS = (
    _Check("memfd_create", _try_memfd, f"{_PROCESS}: the ring"),
    _Check("seals", _try_seals, f"{_PROCESS}: a worker cannot shrink the host's memory"),
    _Check("F_SEAL_FUTURE_WRITE", _try_future_write, f"{_PROCESS}: a worker only reads the ring"),
    _Check("shared futex", _try_futex, f"{_PROCESS}: to wake a worker"),
    _Check("pidfd_open", _try_pidfd, f"{_PROCESS}: to see at once that a worker has ended"),
    _Check(
        "membarrier",
        _try_membarrier,
        "modes thread, process: sending without a fence",
        "a fence for each batch that is sent",
    ),
    _Check(
        "PR_SET_PDEATHSIG",
        _try_parent_death,
        f"{_PROCESS}: a worker ends with the host",
        "the worker watches a pidfd of the host",
    ),
    _Check(
        "process_vm_readv",
        _try_process_vm_readv,
        "to check a plugin's pointers before they are used",
        "the same through a pipe, slower",
    ),
    _Check(
        "MADV_WIPEONFORK",
        _try_wipe_on_fork,
        "to notice a fork at the cost of one read",
        "getpid() is asked each time",
    ),
    _Check("/proc/self/maps", _try_maps, "to check a plugin's functions, and that it is unmapped"),
    _Check(
        "executable temp folder",
        _try_temp_folder,
        "private copies of libraries from folders that are read-only",
        "set TMPDIR to a folder that is not mounted noexec, or make the library's writable",
    ),
    _Check(
        "open files",
        lambda: _limit(resource.RLIMIT_NOFILE, _FEWEST_FILES),
        "several for each plugin",
        "raise it: ulimit -n 1024",
    ),
    _Check(
        "threads and processes",
        lambda: _limit(resource.RLIMIT_NPROC, _FEWEST_THREADS),
        "one or two for each plugin",
        "raise it: ulimit -u 1024",
    ),
    _Check("locked memory", lambda: _limit(resource.RLIMIT_MEMLOCK, 0), "for plugins that lock it"),
    _Check("Python", _about_python, "the host"),
    _Check(
        "C library",
        _about_libc,
        "to unload and reload libraries",
        "libraries stay mapped; reload works with a new copy",
    ),
    _Check("core", _about_core, "everything native"),
)
