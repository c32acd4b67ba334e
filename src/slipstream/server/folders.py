"""Which config files may be named over the network: regular files below certain folders.

What leads to a file is followed step by step, each step opened from the one before: so nobody who
swaps names meanwhile is quicker. Links inside of a folder are followed, as far as they stay in it.
"""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from slipstream.config import MAX_CONFIG_BYTES, PluginConfig, config_of_bytes
from slipstream.errors import CannotReadConfigFile
from slipstream.server.answers import Refused

REFUSAL = "config_file is not a regular file below a folder that configs may be loaded from"
_LINKS = 40  # as many as the kernel follows
_STEP = os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC


class Folders:
    """Folders that config files may be loaded from."""

    def __init__(self, folders: Iterable[str | os.PathLike[str]]) -> None:
        """Take the folders; without any, no file may be named."""
        self._folders = list(dict.fromkeys(Path(folder).absolute() for folder in folders))

    def holds(self, path: Path) -> bool:
        """Say whether a path is one of a file below a folder, by its name alone."""
        return any(path.is_relative_to(folder) for folder in self._folders)

    def read(self, named: str) -> PluginConfig:
        """Read a config file.

        Args:
            named: As the caller has named it; a relative path counts from each of the folders.

        Raises:
            Refused: It is not below one of the folders, or no regular file with one name. The
                text is the same whatever there is.
            ConfigError: It is there, and cannot be used.
        """
        for folder in self._folders:
            with contextlib.suppress(OSError, ValueError), _open_below(folder, named) as descriptor:
                content = _content(descriptor)
                break
        else:
            raise Refused(403, REFUSAL, *(f"folder: {folder}" for folder in self._folders))
        source = folder / named
        if len(content) > MAX_CONFIG_BYTES:
            raise CannotReadConfigFile(
                f"the config file {source} is larger than {MAX_CONFIG_BYTES // 1024} KiB",
                "give a smaller JSON5 text file",
            )
        return config_of_bytes(content, source)


def _content(descriptor: int) -> bytes:
    content = b""
    while len(content) <= MAX_CONFIG_BYTES and (
        some := os.read(descriptor, MAX_CONFIG_BYTES + 1 - len(content))
    ):
        content += some
    return content


@contextmanager
def _open_below(folder: Path, named: str) -> Iterator[int]:
    """Open a regular file for reading.

    Raises:
        OSError, ValueError: There is none that may be opened so.
    """
    # Not `Path(named).relative_to`, which takes "a/../../b" for a path below "a".
    rest = named.removeprefix(os.fspath(folder).rstrip("/") + "/")
    if "\0" in named or rest.startswith("/"):
        raise ValueError(named)
    with contextlib.ExitStack() as opened:
        within, step, found = _walk(opened, folder, rest)
        status = os.fstat(found)
        # A second name could be that of a file elsewhere, which whoever made it may not read.
        if not stat.S_ISREG(status.st_mode) or status.st_nlink != 1:
            raise ValueError(named)
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY
        descriptor = _hold(opened, os.open(step, flags, dir_fd=within))
        if not os.path.samestat(os.fstat(descriptor), status):
            raise ValueError(named)
        yield descriptor


def _walk(opened: contextlib.ExitStack, folder: Path, rest: str) -> tuple[int, str, int]:
    """Go to a file, step by step; return the folder that it is in, its name there, and itself."""
    way = [_hold(opened, os.open(folder, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC))]
    steps = [*reversed(rest.split("/"))]
    links = 0
    while steps:
        step = steps.pop()
        if step == "..":
            way.pop()
        if not way:
            raise ValueError(rest)
        if step in {"", ".", ".."}:
            continue
        found = _hold(opened, os.open(step, _STEP, dir_fd=way[-1]))
        mode = os.fstat(found).st_mode
        if stat.S_ISLNK(mode):
            links += 1
            target = os.readlink("", dir_fd=found)
            if links > _LINKS or target.startswith("/"):
                raise ValueError(rest)
            steps += reversed(target.split("/"))
        elif stat.S_ISDIR(mode):
            way.append(found)
        elif not steps:
            return way[-1], step, found
        else:
            raise ValueError(rest)
    raise ValueError(rest)


def _hold(opened: contextlib.ExitStack, descriptor: int) -> int:
    opened.callback(os.close, descriptor)
    return descriptor
