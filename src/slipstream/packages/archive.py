"""A package, read once: its bytes, what it says of itself, and whether that is so."""

from __future__ import annotations

import hashlib
import secrets
import shutil
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Self

from slipstream._platform import make_private_folder
from slipstream.errors import PackageError, PluginLoadError
from slipstream.files import limit_hint
from slipstream.library import PluginInfo, read_file
from slipstream.packages import meta
from slipstream.packages.disk import new_file, sync
from slipstream.packages.meta import read_meta
from slipstream.packages.names import PackageName
from slipstream.packages.sealed import Sealed
from slipstream.packages.zips import Entry, Zip
from slipstream.text import printable

_ABI = 1
_DRAFT = ".new-"
_SHORT = 16  # digits of a digest that tell packages apart for people


class Archive:
    """A package, checked whole; nothing of it has run or lies on a disk.

    Attributes:
        sealed: Its bytes.
        meta: What it says of itself.
        info: What its library says of itself, if it does.
        library: The library's bytes.
    """

    def __init__(self, sealed: Sealed, *, elsewhere: bool = False) -> None:
        """Check a package.

        Args:
            sealed: Its bytes.
            elsewhere: It may be for another machine than this one; then its library is not read.

        Raises:
            PackageError: It is refused.
        """
        self.sealed = sealed
        self.name = sealed.name
        self._zip = Zip(sealed.view, self.name)
        entry = self._zip.entries.get(meta.FILE)
        if entry is None or entry.is_folder:
            raise self._zip.refuse(f"it has no {meta.FILE} at its top")
        self.meta = read_meta(self._zip.content(entry, meta.MOST_BYTES), self.name)
        self._check_abi()
        self._check_files()
        self.library = self._take_library()
        self.info: PluginInfo | None = None
        if self.package.is_for_here or not elsewhere:
            self.info = self._check_library()

    @classmethod
    def read(cls, path: Path, *, elsewhere: bool = False) -> Self:
        """Read a package's file, once; see above.

        Raises:
            PackageError: It cannot be read, or is refused.
        """
        return cls(Sealed.read(path), elsewhere=elsewhere)

    @property
    def digest(self) -> str:
        """Its SHA-256, in hexadecimal."""
        return self.sealed.digest

    @property
    def package(self) -> PackageName:
        """Which package it says that it is."""
        return self.meta.package

    @property
    def entries(self) -> dict[str, Entry]:
        """What is in it."""
        return self._zip.entries

    # ---- Checks -----------------------------------------------------------------------------

    def _check_abi(self) -> None:
        if self.meta.abi not in {None, _ABI}:
            raise self._zip.refuse(
                f"it is for major {self.meta.abi} of the ABI, and this host has {_ABI}",
                "use a package for this host",
            )

    def _check_files(self) -> None:
        """See that every content is whole, and what the meta file says of it."""
        said = self.meta.files
        found = {
            name: self._digest(entry)
            for name, entry in self._zip.entries.items()
            if not entry.is_folder
        }
        del found[meta.FILE]
        for name in said or {}:
            if name not in found:
                raise self._zip.refuse(
                    f"{printable(name)} is listed in its {meta.FILE} and missing"
                )
        for name, digest in found.items():
            if said is not None and name not in said:
                raise self._zip.refuse(f"{printable(name)} is not listed in its {meta.FILE}")
            if said is not None and said[name] != digest:
                raise self._zip.refuse(
                    f"{printable(name)} is not what its {meta.FILE} says: SHA-256"
                )
        self._digests = found

    def _digest(self, entry: Entry) -> str:
        digest = hashlib.sha256()
        for piece in self._zip.pieces(entry):
            digest.update(piece)
        return digest.hexdigest()

    def _take_library(self) -> Sealed:
        entry = self._zip.entries.get(self.meta.entrypoint)
        if entry is None or entry.is_folder:
            raise self._zip.refuse(f"its entrypoint {self.meta.entrypoint} is not in it")
        return Sealed(f"{self.meta.entrypoint} of {self.name}", self._zip.pieces(entry))

    def _check_library(self) -> PluginInfo | None:
        """Read what the library says, and hold it against the meta file; nothing of it runs."""
        if not self.package.is_for_here:
            raise self._zip.refuse(
                f"it is for {self.package.os} on {self.package.arch}, and not for this machine",
                "use the package for this machine",
            )
        try:
            found = read_file(self.library.path, Path(self.meta.entrypoint))
            if found.foreign is not None:
                raise found.foreign
            info = found.info()
        except PluginLoadError as error:
            raise self._zip.refuse(f"its library is refused: {error.message}", error.hint) from None
        mine = self.package
        for what, said, own in (
            ("name", mine.name, info and info.name),
            ("version", mine.version, info and info.version),
        ):
            if info is not None and said != own:
                raise self._zip.refuse(f"its {meta.FILE} says {what} {said}, its library {own}")
        schema = self.meta.config_schema
        if info is not None and schema is not None and schema != info.config_schema:
            raise self._zip.refuse(f"its {meta.FILE} has another config_schema than its library")
        return info

    def require(self, wanted: PackageName) -> None:
        """Refuse a package that is another one than was asked for.

        Raises:
            PackageError: It is.
        """
        mine = self.package
        same = (mine.name, mine.version) == (wanted.name, wanted.version)
        if not same or (wanted.os and mine.os and (mine.os, mine.arch) != (wanted.os, wanted.arch)):
            raise self._zip.refuse(
                f"it says that it is {mine}, and {wanted} was asked for",
                "give it the name that it has, or fetch the one that is meant",
            )

    # ---- Unpacking --------------------------------------------------------------------------

    def unpack(self, below: Path) -> Path:
        """Lay its files down, whole or not at all; what lies there already is looked at again.

        Args:
            below: The folder in which it gets one of its own.

        Returns:
            The library there.

        Raises:
            PackageError: There is no room, or the like.
        """
        library = self.place_in(below)
        folder = library.parent
        try:
            make_private_folder(below)
            if not self._lies_in(folder):
                self._lay_down(folder)
        except OSError as error:
            raise PackageError(
                f"{self.name} cannot be unpacked into {printable(str(below))}: {error.strerror}",
                limit_hint(error.errno) or "make room there, or let this user write there",
            ) from None
        return library

    def place_in(self, below: Path) -> Path:
        """Return where its library lies once it is unpacked."""
        return below / f"{self.package}@{self.digest[:_SHORT]}" / self.meta.entrypoint

    def _lay_down(self, folder: Path) -> None:
        draft = folder.with_name(f"{_DRAFT}{secrets.token_hex(8)}")
        draft.mkdir(mode=0o700)
        try:
            for name, entry in self._zip.entries.items():
                path = draft / name
                (path if entry.is_folder else path.parent).mkdir(
                    mode=0o700, parents=True, exist_ok=True
                )
                if not entry.is_folder:
                    self._write(path, entry)
            for inner in [*(path for path in draft.rglob("*") if path.is_dir()), draft]:
                sync(inner)
            if folder.exists():
                folder.rename(draft.with_name(f"{draft.name}-old"))
            draft.rename(folder)
            sync(folder.parent)
        finally:
            shutil.rmtree(draft, ignore_errors=True)
            shutil.rmtree(draft.with_name(f"{draft.name}-old"), ignore_errors=True)

    def _write(self, path: Path, entry: Entry) -> None:
        mode = 0o500 if entry.name == self.meta.entrypoint else 0o400
        new_file(path, self._zip.pieces(entry), mode)

    def _lies_in(self, folder: Path) -> bool:
        """Whether it was unpacked there, and nothing was changed since."""
        if not folder.is_dir() or folder.is_symlink():
            return False
        names = {str(path.relative_to(folder)) for path in folder.rglob("*") if not path.is_dir()}
        files = {name for name, entry in self._zip.entries.items() if not entry.is_folder}
        # What a library's private copy is called begins with a dot.
        if {name for name in names if not name.startswith(".")} != files:
            return False
        return all(
            _same(folder / name, self._zip.pieces(self._zip.entries[name])) for name in files
        )


def _same(path: Path, pieces: Iterator[bytes]) -> bool:
    if path.is_symlink() or not path.is_file():
        return False
    with path.open("rb") as file:
        return all(file.read(len(piece)) == piece for piece in pieces) and not file.read(1)


def sweep(below: Path, digests: Collection[str]) -> None:
    """Remove what a run that was killed has left there, and packages that are used no more.

    Args:
        below: The folder; nobody else may be unpacking.
        digests: Those of the packages that stay.
    """
    stay = {digest[:_SHORT] for digest in digests}
    for path in below.iterdir():
        name, mark, digest = path.name.rpartition("@")
        is_old = bool(mark) and bool(name) and digest not in stay
        if path.is_dir() and (is_old or path.name.startswith(_DRAFT)):
            shutil.rmtree(path, ignore_errors=True)
