"""The private copy of a library that is really opened.

The loader knows libraries by name: a file that was replaced under the same path would
give the old code again, and one overwritten in place crashes whoever has it mapped. So
each generation of a plugin gets a copy under a name of its own, kept until the generation
ends. It lies beside the original where that folder is writable, so that ``$ORIGIN`` in it
means the same, else in a private folder.

A lock on the open copy says that it is in use. A copy without one was left by a process
that was killed, and is removed when the next copy is made in that folder.
"""

from __future__ import annotations

import errno
import itertools
import os
import re
import stat
from functools import partial
from pathlib import Path

from slipstream._native.handle import Handle
from slipstream._platform import (
    create_locked,
    is_private_folder,
    lock,
    make_library,
    open_to_read,
    remove_locked,
    user_folder,
)
from slipstream.errors import PluginLoadError, Refusal
from slipstream.files import limit_hint
from slipstream.library.file import judge
from slipstream.library.info import PluginInfo

_SUFFIX = ".slipstream-copy"
_CHUNK = 1024 * 1024
_numbers = itertools.count(1)
_swept: set[Path] = set()


class PrivateCopy(Handle[int]):
    """A copy of a library under a unique name. What is mapped of it stays mapped when it goes.

    Attributes:
        original: The library that was copied.
        path: The copy.
        digest: SHA-256 of the copy's bytes, in hexadecimal.
    """

    _judged: tuple[PluginInfo | None] | None = None

    def __init__(
        self,
        original: Path,
        expected: str | None = None,
        *,
        of: Path | None = None,
        apart: bool = False,
        shared: bool = False,
    ) -> None:
        """Copy a library.

        Args:
            original: A regular file; what messages name.
            expected: The SHA-256 that it must have, in hexadecimal; None accepts any.
            of: The file that is really read, if it is not `original`: an earlier copy of it, or
                its bytes as they were checked.
            apart: The copy lies outside of the original's folder, in the one above, so that no
                other library of that folder comes along with it.
            shared: Other users may read the copy; a worker that runs as one has to.

        Raises:
            PluginLoadError: It cannot be read or copied, or has another digest.
        """
        self.original = original
        self._shared = shared
        self.path, descriptor = self._create(original, original.parents[apart])
        super().__init__(descriptor, partial(remove_locked, self.path))
        try:
            self.digest = self._fill(of or original)
            if expected is not None and self.digest != expected.lower():
                raise PluginLoadError(
                    f"{original} has SHA-256 {self.digest}, the config wants {expected.lower()}",
                    "restore the library that the config was written for, or update `sha256`",
                    Refusal.DIGEST_MISMATCH,
                )
        except BaseException:
            self.close()
            raise

    @property
    def info(self) -> PluginInfo | None:
        """What the library says of itself, if it does; judged when it is first asked for.

        Raises:
            PluginLoadError: It cannot be loaded; `refusal` says why. Nothing of it has run.
        """
        if self._judged is None:
            self._judged = (judge(self.path, self.original),)
        return self._judged[0]

    @staticmethod
    def _create(original: Path, folder: Path) -> tuple[Path, int]:
        try:
            return _new_file(folder, original.stem)
        except OSError as error:
            if error.errno not in {errno.EACCES, errno.EPERM, errno.EROFS}:
                raise _cannot_copy(original, error) from None
        try:
            return _new_file(_private_folder(), original.stem)
        except OSError as error:
            raise _cannot_copy(original, error) from None

    def _fill(self, origin: Path) -> str:
        try:
            import hashlib  # noqa: PLC0415 - embedding starts quicker without it

            digest = hashlib.sha256()
            # O_NONBLOCK: a FIFO put in the library's place must not hang us.
            descriptor = open_to_read(origin)
            try:
                if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                    raise OSError(errno.EINVAL, "it is not a regular file")
                while chunk := os.read(descriptor, _CHUNK):
                    digest.update(chunk)
                    rest = memoryview(chunk)
                    while rest:
                        rest = rest[os.write(self.pointer, rest) :]
            finally:
                os.close(descriptor)
            make_library(self.pointer, self.path, shared=self._shared)
        except OSError as error:
            raise _cannot_copy(self.original, error) from None
        return digest.hexdigest()


def _cannot_copy(original: Path, error: OSError) -> PluginLoadError:
    if not original.exists():
        return PluginLoadError(
            f"the library {original} does not exist",
            "build it, or correct its path",
            Refusal.CANNOT_OPEN,
        )
    return PluginLoadError(
        f"cannot make a private copy of {original}: {error.strerror}",
        limit_hint(error.errno)
        or "check that the file can be read and that its folder, or the folder for temporary "
        "files, has room",
        Refusal.CANNOT_OPEN,
    )


def _private_folder() -> Path:
    import tempfile  # noqa: PLC0415 - only libraries in read-only folders need it

    folder = Path(tempfile.gettempdir()) / user_folder()
    folder.mkdir(mode=0o700, exist_ok=True)
    if not is_private_folder(folder):
        message = f"{folder} is not a folder of this user alone"
        raise OSError(errno.EEXIST, message)
    return folder


def _new_file(folder: Path, stem: str) -> tuple[Path, int]:
    """Make a locked empty file. It gets its final name last: a sweep finds only locked ones."""
    _sweep(folder)
    # Whatever the library is called, the copy's name is short and needs no escape.
    plain = re.sub(r"[^A-Za-z0-9._-]", "_", stem)
    # Whoever swaps the folder cannot have laid one of that name into the other.
    name = f".{plain[:64]}.{os.getpid()}-{next(_numbers)}-{os.urandom(8).hex()}"
    path = folder / f"{name}{_SUFFIX}"
    return path, create_locked(folder / f"{name}.new", path)


def _sweep(folder: Path) -> None:
    """Remove what a killed process left in the folder; once for each folder and process."""
    if folder in _swept:
        return
    _swept.add(folder)
    for path in folder.glob(f".*{_SUFFIX}"):
        try:
            file = open_to_read(path, follow=False)
        except OSError:
            continue
        try:
            lock(file)
            path.unlink()
        except OSError:
            pass  # in use, or not ours
        finally:
            os.close(file)
