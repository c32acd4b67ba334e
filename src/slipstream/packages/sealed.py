"""Bytes that nobody changes any more: a file that was read once, into sealed memory.

Whatever becomes of the file, its folder or its name afterwards: what was checked is what is used.
"""

from __future__ import annotations

import hashlib
import mmap
import os
import weakref
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Self

from slipstream._platform import new_memory, open_path, seal_memory
from slipstream.errors import PackageError
from slipstream.files import FileProblem, limit_hint, open_regular
from slipstream.text import printable

MEBIBYTE = 1024 * 1024
MOST_BYTES = 512 * MEBIBYTE
_PIECE = MEBIBYTE


class Sealed:
    """Bytes in sealed memory; given back when nobody has them any more.

    Attributes:
        name: What they are, for people.
        size: How many there are.
        digest: Their SHA-256, in hexadecimal.
    """

    def __init__(self, name: str, pieces: Iterable[bytes], most: int = MOST_BYTES) -> None:
        """Take the bytes.

        Args:
            name: What they are, for people.
            pieces: The bytes, piece by piece.
            most: So many at most.

        Raises:
            PackageError: There are more, or there is no memory.
        """
        self.name = name
        self._descriptor = -1
        try:
            self._descriptor = new_memory("slipstream-package")
            self._end = weakref.finalize(self, os.close, self._descriptor)
            self.size, self.digest = self._fill(pieces, most)
            seal_memory(self._descriptor)
        except OSError as error:
            raise PackageError(
                f"{name} cannot be held in memory: {error.strerror}",
                limit_hint(error.errno) or "free some memory",
            ) from None
        self.view = memoryview(b"")
        if self.size:
            memory = mmap.mmap(self._descriptor, self.size, prot=mmap.PROT_READ)
            self.view = memoryview(memory)

    def _fill(self, pieces: Iterable[bytes], most: int) -> tuple[int, str]:
        size, digest = 0, hashlib.sha256()
        for piece in pieces:
            size += len(piece)
            if size > most:
                raise PackageError(
                    f"{self.name} is larger than {most // MEBIBYTE} MiB",
                    "look at what is in it; a package is never so large",
                )
            digest.update(piece)
            rest = memoryview(piece)
            while rest:
                rest = rest[os.write(self._descriptor, rest) :]
        return size, digest.hexdigest()

    @classmethod
    def read(cls, path: Path, most: int = MOST_BYTES) -> Self:
        """Read a regular file, once.

        Raises:
            PackageError: There is none that can be read, or it is too large.
        """
        name = printable(str(path))
        try:
            with open_regular(path) as descriptor:
                return cls(name, _pieces(descriptor, name), most)
        except FileProblem as problem:
            raise PackageError(
                f"{name} {problem.reason}", problem.hint("name a package that this user may read")
            ) from None

    @property
    def path(self) -> Path:
        """Where this process can open them, as long as this object is there."""
        return open_path(self._descriptor)


def _pieces(descriptor: int, name: str) -> Iterator[bytes]:
    try:
        while piece := os.read(descriptor, _PIECE):
            yield piece
    except OSError as error:
        raise PackageError(
            f"{name} cannot be read: {error.strerror}", limit_hint(error.errno) or "check its disk"
        ) from None
