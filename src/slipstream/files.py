"""Opens and reads small files of which nothing is known yet, without ever blocking."""

from __future__ import annotations

import errno
import os
import stat
from contextlib import contextmanager
from typing import TYPE_CHECKING

from slipstream._platform import open_to_read

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

KIBIBYTE = 1024

_KINDS = (
    (stat.S_ISDIR, "is a folder, not a file"),
    (stat.S_ISFIFO, "is a FIFO, not a regular file"),
    (stat.S_ISSOCK, "is a socket, not a regular file"),
    (stat.S_ISCHR, "is a device, not a regular file"),
    (stat.S_ISBLK, "is a device, not a regular file"),
)


# What no change of the file would help with.
_LIMITS = {
    errno.EMFILE: "raise the limit on open files: ulimit -n",
    errno.ENFILE: "raise the system's limit on open files: sysctl fs.file-max",
    errno.EFBIG: "raise the limit on the size of files: ulimit -f",
}


class FileProblem(Exception):
    """Why a file cannot be used.

    Args:
        reason: What continues the sentence that starts with the file's name.
        found: Whether there is a file that may be opened.
        number: The system's number of the error, 0 for none.
    """

    def __init__(self, reason: str, *, found: bool, number: int = 0) -> None:
        super().__init__(reason)
        self.reason = reason
        self.found = found
        self.number = number

    def hint(self, usual: str) -> str:
        """What to do about it: raise the limit that was hit, or what is usual for such a file."""
        return limit_hint(self.number) or usual


def limit_hint(number: int | None) -> str:
    """What to do where an error's number says that a limit on files was hit; "" for another."""
    return _LIMITS.get(number or 0, "")


@contextmanager
def open_regular(path: Path) -> Iterator[int]:
    """Opens a regular file for reading; a FIFO or a device is refused and not waited for.

    Args:
        path: The file; symbolic links are followed.

    Returns:
        A context manager that gives the file descriptor and closes it.

    Raises:
        FileProblem: There is no such file, it may not be opened, or it is not a regular one.
    """
    try:
        # Looked at before it is opened, because opening alone rewinds some devices; and again
        # after, because the name may stand for something else by then.
        _require_regular(os.stat(path).st_mode)
        descriptor = open_to_read(path)
    except (OSError, ValueError) as error:
        raise _problem("cannot be opened", error, found=False) from None
    try:
        _require_regular(os.fstat(descriptor).st_mode)
        yield descriptor
    finally:
        os.close(descriptor)


def read_small(path: Path, limit: int) -> bytes:
    """Reads a whole regular file of a limited size.

    Args:
        path: The file; symbolic links are followed.
        limit: The largest size in bytes that is accepted.

    Returns:
        The file's bytes.

    Raises:
        FileProblem: The file cannot be opened or read, is not a regular one or is too large.
    """
    chunks: list[bytes] = []
    room = limit + 1
    with open_regular(path) as descriptor:
        try:
            while room and (chunk := os.read(descriptor, room)):
                chunks.append(chunk)
                room -= len(chunk)
        except OSError as error:
            raise _problem("cannot be read", error, found=True) from None
    if not room:
        raise FileProblem(f"is larger than {limit // KIBIBYTE} KiB", found=True)
    return b"".join(chunks)


def _require_regular(mode: int) -> None:
    for is_kind, reason in _KINDS:
        if is_kind(mode):
            raise FileProblem(reason, found=True)


def _problem(what: str, error: OSError | ValueError, *, found: bool) -> FileProblem:
    if isinstance(error, FileNotFoundError):
        return FileProblem("does not exist", found=found)
    if isinstance(error, OSError):
        said = os.strerror(error.errno) if error.errno else error
        return FileProblem(f"{what}: {said}", found=found, number=error.errno or 0)
    reason = f"{what}: its name holds a character that no file name can hold"
    return FileProblem(reason, found=found)
