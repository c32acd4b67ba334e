"""Files that are there whole or not at all, whenever the power fails."""

from __future__ import annotations

import contextlib
import os
import secrets
from collections.abc import Iterable
from pathlib import Path
from typing import TypeAlias

from slipstream.errors import PackageError
from slipstream.files import limit_hint
from slipstream.text import printable

DRAFT = ".draft-"
Buffer: TypeAlias = "bytes | memoryview"


def write_whole(path: Path, pieces: Iterable[Buffer], mode: int = 0o644) -> None:
    """Write a file in place of what is there, in one step.

    Args:
        path: The file.
        pieces: Its content.
        mode: Who may do what with it.

    Raises:
        PackageError: It cannot be written; what was there still is.
    """
    draft = path.with_name(f"{DRAFT}{path.name[:60]}-{secrets.token_hex(8)}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        new_file(draft, pieces, mode)
        draft.replace(path)
        sync(path.parent)
    except OSError as error:
        raise PackageError(
            f"{printable(str(path))} cannot be written: {error.strerror}",
            limit_hint(error.errno) or "make room there, or let this user write there",
        ) from None
    finally:
        with contextlib.suppress(OSError):
            draft.unlink()


def new_file(path: Path, pieces: Iterable[Buffer], mode: int) -> None:
    """Write a file that was not there, to the disk.

    Raises:
        OSError: That cannot be done.
    """
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    with os.fdopen(os.open(path, flags, mode), "wb") as file:
        file.writelines(pieces)
        file.flush()
        os.fsync(file.fileno())


def sync(folder: Path) -> None:
    """See to it that the names in a folder are on its disk.

    Raises:
        OSError: They are not.
    """
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sweep(folder: Path) -> None:
    """Remove the drafts that a run that was killed has left in a folder of nobody else's."""
    for draft in folder.glob(f"{DRAFT}*"):
        with contextlib.suppress(OSError):
            draft.unlink()
