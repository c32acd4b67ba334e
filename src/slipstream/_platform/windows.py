"""Windows. Who may do what to a file is in its access list, which the core reads."""

from __future__ import annotations

import contextlib
import errno
import itertools
import os
import signal
import socket
import stat
import sys
import time
from pathlib import Path

from slipstream._native import ffi, lib

assert sys.platform == "win32"  # noqa: S101 - says so to mypy

import _winapi  # noqa: E402 - only there
import msvcrt  # noqa: E402 - only there

STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGBREAK)
"""What asks a program to stop."""

HAS_PROCESS_MODE = False
"""Whether a plugin can run in a process of its own."""

LIBRARY_SUFFIX = ".dll"
"""How the names of libraries end."""

_PLAIN = os.O_BINARY | os.O_NOINHERIT
_LOCK_AT = 0x7FFFFFF0  # what is locked cannot be read by others: a place where nothing is
_LOOK_EVERY = 0.02  # seconds; a pipe tells nobody that it can be read
_NAME_ROOM = 512


def open_to_read(path: str | os.PathLike[str], *, follow: bool = True) -> int:
    """Open a file for reading.

    Args:
        path: The file.
        follow: Whether it may be a symbolic link.

    Returns:
        A descriptor that no child inherits.

    Raises:
        OSError: It cannot be opened.
    """
    if not follow and os.path.islink(path):  # noqa: PTH114 - any kind of path
        raise OSError(40, "it is a symbolic link")
    return os.open(path, os.O_RDONLY | _PLAIN)


def create_private(path: str | os.PathLike[str]) -> int:
    """Create a file that was not there, with its folder's rights; returns its descriptor."""
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | _PLAIN, 0o600)


def create_locked(draft: Path, path: Path) -> int:
    """Create a file at `path` and lock it; returns its descriptor. `draft` is not needed.

    Nobody can remove it as long as it is open.
    """
    del draft
    descriptor = create_private(path)
    try:
        lock(descriptor)
    except BaseException:
        os.close(descriptor)
        path.unlink(missing_ok=True)
        raise
    return descriptor


def remove_locked(path: Path, descriptor: int) -> None:
    """Close and remove a file that `create_locked` has made.

    One that is still mapped stays, for whoever sweeps its folder later.
    """
    os.close(descriptor)
    with contextlib.suppress(OSError):
        path.unlink()


def make_private_folder(path: str | os.PathLike[str]) -> None:
    """Make a folder, and those above it that are missing, for this user alone.

    One that is there stays as it is.

    Raises:
        OSError: That cannot be done.
    """
    folder = Path(path)
    missing = list(itertools.takewhile(lambda one: not one.is_dir(), [folder, *folder.parents]))
    for one in reversed(missing):
        one.mkdir(mode=0o700, exist_ok=True)


def narrow_folder(path: Path) -> bool:
    """Leave a folder of this user's as it is: his profile lets nobody else in."""
    del path
    return False


def make_folder_of(user: str, path: Path) -> None:
    """Refuse to make a folder for another user: only a worker process runs as one.

    Raises:
        OSError: Always.
    """
    raise OSError(errno.ENOTSUP, f"no folder for {user} can be made here", str(path))


def let_through(path: Path) -> None:
    """Do nothing: no plugin runs as another user."""
    del path


def who_bars(path: Path, user: str) -> Path | None:
    """Say nothing: no plugin runs as another user."""
    del path, user
    return None


def open_for_append(path: str | os.PathLike[str]) -> int:
    """Open a file to which every write appends, and create it where it is missing."""
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | _PLAIN, 0o600)


def new_memory(name: str) -> int:
    """Refuse: there are no files that lie in memory alone."""
    raise OSError(95, f"{name}: no sealed memory on Windows")


def seal_memory(descriptor: int) -> None:
    """Do nothing: `new_memory` gives none."""
    del descriptor


def open_path(descriptor: int) -> Path:
    """Refuse: an open file has no path by its descriptor."""
    raise OSError(95, f"descriptor {descriptor} has no path on Windows")


def is_open_path(path: Path) -> bool:
    """Say no: see `open_path`."""
    del path
    return False


def lock(descriptor: int) -> None:
    """Lock an open file until it is closed, also against other processes.

    Raises:
        OSError: Somebody else has it.
    """
    at = os.lseek(descriptor, 0, os.SEEK_CUR)
    os.lseek(descriptor, _LOCK_AT, os.SEEK_SET)
    try:
        msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
    finally:
        os.lseek(descriptor, at, os.SEEK_SET)


def make_library(descriptor: int, path: Path, *, shared: bool) -> None:
    """Let an open file be loaded: nobody may have it open to write to it, we neither."""
    del shared
    os.fsync(descriptor)
    again = os.open(path, os.O_RDONLY | _PLAIN)
    try:
        os.dup2(again, descriptor, inheritable=False)
    finally:
        os.close(again)
    lock(descriptor)


def user_folder() -> str:
    """Return a name for a folder of this user's among those of others."""
    return f"slipstream-{os.environ.get('USERNAME', 'user')}"


def is_private_folder(path: Path) -> bool:
    """Say whether this is a folder, no link to one, that only this user can change."""
    info = path.lstat()
    return (
        stat.S_ISDIR(info.st_mode)
        and not path.is_symlink()
        and not path.is_junction()
        and who_may_replace(str(path), info) is None
    )


def who_may_replace(place: str | int, status: os.stat_result) -> tuple[str, str] | None:
    """Say who, beside the administrators and this user, could replace a file or a folder.

    Args:
        place: The file or folder: its path, or a descriptor of it.
        status: Its own, or that of the link if it is one.

    Returns:
        What is wrong with it, and what mends it, to stand before its path; None if nobody could.
    """
    name = ffi.new("char[]", _NAME_ROOM)
    text, descriptor = (place, -1) if isinstance(place, str) else ("", place)
    is_folder = stat.S_ISDIR(status.st_mode)
    found = lib.ss_os_who_may_write(os.fsencode(text), descriptor, is_folder, name, _NAME_ROOM)
    who = bytes(ffi.string(name)).decode("utf-8", "replace")
    if found == 0:
        return None
    if found < 0:
        return (
            f"has an access list that cannot be read ({who}), so who could replace the library "
            "is not known"
        ), "put the plugin on a volume with access lists (NTFS):"
    return f"can be changed by {who}, who could replace the library", (
        f'run: icacls /inheritance:d /remove "{who}"'
    )


def group_number(name: str) -> int | None:
    """Say that there are no numbers of groups."""
    del name


def peer_user(connection: socket.socket) -> int | None:
    """Say that nothing is known of the other end."""
    del connection


def limit_of(which: str) -> tuple[int | None, int | None] | None:
    """Say that there are no such limits."""
    del which


def processor_count() -> int:
    """Return on how many processors this process may run."""
    return os.cpu_count() or 1


def map_executable(descriptor: int, size: int) -> None:
    """Do nothing: no folder forbids it."""
    del descriptor, size


def c_library() -> str | None:
    """Name the C library."""
    return "Universal C Runtime"


def at_fork_in_child(do: object) -> None:
    """Do nothing: there is no fork."""
    del do


def wake_pipe() -> tuple[int, int]:
    """Return the ends of a pipe, for reading and for writing."""
    return os.pipe()


def wait_readable(descriptor: int, seconds: float | None) -> bool:
    """Wait until there is something to read, or the end, so long at most; says whether there is."""
    end = None if seconds is None else time.monotonic() + seconds
    while True:
        try:
            _, waiting, *_ = _winapi.PeekNamedPipe(msvcrt.get_osfhandle(descriptor), 0)
        except OSError:  # its other end is closed
            return True
        if waiting:
            return True
        if end is not None and time.monotonic() >= end:
            return False
        time.sleep(_LOOK_EVERY)


def write_patiently(descriptor: int, data: bytes, seconds: float) -> bool:
    """Write all of it, past any buffer; says whether that was done.

    Args:
        descriptor: Anything; what it leads to may be full, closed or read by nobody.
        data: The bytes.
        seconds: Not kept here: a full pipe is waited for.
    """
    del seconds
    left = memoryview(data)
    try:
        while left:
            left = left[os.write(descriptor, left) :]
    except (OSError, ValueError):
        return False
    return True
