"""The folder with packages, and what its lock says: what is installed.

An archive and its signatures are written first, the lock last; each is there whole or not at all.
So whenever a run is killed, what the lock knows is there, and what it does not know is not used.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from slipstream._platform import lock as lock_file
from slipstream._platform import make_private_folder, open_for_append
from slipstream.errors import PackageError
from slipstream.files import limit_hint
from slipstream.packages.archive import Archive
from slipstream.packages.disk import sweep, write_whole
from slipstream.packages.lock import Lock, Locked
from slipstream.packages.names import SIGNATURES, SUFFIX, PackageName, version_key
from slipstream.packages.sealed import Sealed
from slipstream.packages.trust import SKIPPED, TrustedKey, read_signatures, signer_of
from slipstream.text import printable

KEPT = 3
"""Versions of a package that stay when others are pruned."""


class Store:
    """A folder with packages.

    Attributes:
        folder: The folder.
        lock_path: Its lock.
        keys: Who may vouch for packages.
        skip_verify: Whether signatures are left out; the lock never is.
    """

    def __init__(
        self,
        folder: Path,
        lock_path: Path,
        keys: Iterable[TrustedKey] = (),
        *,
        skip_verify: bool = False,
    ) -> None:
        """Use a folder, which need not be there yet."""
        self.folder, self.lock_path = folder, lock_path
        self.keys = tuple(keys)
        self.skip_verify = skip_verify

    def lock(self) -> Lock:
        """Read the lock.

        Raises:
            PackageError: It is damaged.
        """
        return Lock.read(self.lock_path)

    def path_of(self, package: PackageName) -> Path:
        """Return where an archive lies, or would."""
        return self.folder / f"{package}{SUFFIX}"

    def find(self, wanted: PackageName) -> Path | None:
        """Return the archive of a package, for this machine or for all; None: it is not here."""
        for package in dict.fromkeys((*wanted.candidates(), wanted)):
            path = self.path_of(package)
            if path.exists():
                return path
        return None

    # ---- Using ------------------------------------------------------------------------------

    def open(self, wanted: PackageName) -> tuple[Archive, Locked, str]:
        """Read and verify a package that is installed; nothing of it is believed before that.

        Returns:
            The package, what the lock knows of it, and who has signed it.

        Raises:
            PackageError: It is not here, or refused.
        """
        path = self.find(wanted)
        if path is None:
            raise PackageError(
                f"{wanted.name} {wanted.version} is not in {printable(str(self.folder))}",
                f"slipstream package install {wanted.name} {wanted.version}",
            )
        lock = self.lock()
        sealed = Sealed.read(path)
        # The cheap question first: of what is not locked, nothing is unpacked.
        if sealed.digest not in {one.sha256 for one in lock.packages.values()}:
            known = lock.packages.get(path.name.removesuffix(SUFFIX))
            if known is None:
                raise PackageError(
                    f"{sealed.name} is not in {printable(str(self.lock_path))}",
                    f"slipstream package install {sealed.name}",
                )
            raise PackageError(
                f"{sealed.name} has SHA-256 {sealed.digest}, and {printable(str(self.lock_path))} "
                f"has {known.sha256}",
                "a version that was published never changes: find out who has changed it",
            )
        archive = Archive(sealed)
        archive.require(wanted)
        known = lock.require(archive)
        return archive, known, self._signer(archive, read_signatures(path), known.origin)

    def _signer(self, archive: Archive, signatures: Mapping[str, bytes], origin: str) -> str:
        if self.skip_verify:
            return SKIPPED
        return signer_of(archive, signatures, self.keys, origin)

    # ---- Changing ---------------------------------------------------------------------------

    @contextmanager
    def _changing(self) -> Iterator[None]:
        """Let nobody else change the folder meanwhile; removes what killed runs have left."""
        try:
            make_private_folder(self.folder)
            held = open_for_append(self.folder / ".lock")
        except OSError as error:
            raise PackageError(
                f"the folder {printable(str(self.folder))} cannot be used: {error.strerror}",
                limit_hint(error.errno) or "let this user write there, or name another one",
            ) from None
        try:
            try:
                lock_file(held)
            except OSError:
                raise PackageError(
                    f"somebody else is changing {printable(str(self.folder))}", "try again"
                ) from None
            sweep(self.folder)
            yield
        finally:
            os.close(held)

    def add(self, archive: Archive, signatures: Mapping[str, bytes], origin: str) -> Locked:
        """Install a package: verify it, keep it, and write it into the lock.

        Args:
            archive: The package.
            signatures: Its signatures, by the ends of their files' names.
            origin: Where it comes from.

        Raises:
            PackageError: It is refused, or cannot be written; then all is as it was.
        """
        package = archive.package
        signer = self._signer(archive, signatures, origin)
        with self._changing():
            lock = self.lock()
            known = lock.find(package)
            if known is not None and known.sha256 != archive.digest:
                raise PackageError(
                    f"{archive.name} has SHA-256 {archive.digest}, and {package} is locked with "
                    f"{known.sha256}",
                    "a version that was published never changes: find out who has changed it, or "
                    f"first slipstream package remove {package.name} {package.version}",
                )
            if known is not None and self._is_kept(archive, signatures):
                return known
            path = self.path_of(package)
            for suffix, content in signatures.items():
                write_whole(path.with_name(f"{package}{suffix}"), [content])
            write_whole(path, [archive.sealed.view])
            lock.packages[str(package)] = Locked(archive.digest, signer, origin)
            lock.write()
            return lock.packages[str(package)]

    def _is_kept(self, archive: Archive, signatures: Mapping[str, bytes]) -> bool:
        with contextlib.suppress(PackageError):
            path = self.path_of(archive.package)
            kept = path.exists() and Sealed.read(path).digest == archive.digest
            return kept and read_signatures(path) == dict(signatures)
        return False

    def keep(self, archive: Archive, signatures: Mapping[str, bytes]) -> None:
        """Lay down a package that the lock knows already.

        Raises:
            PackageError: It cannot be written.
        """
        with self._changing():
            self.lock().require(archive)
            path = self.path_of(archive.package)
            for suffix, content in signatures.items():
                write_whole(path.with_name(f"{archive.package}{suffix}"), [content])
            write_whole(path, [archive.sealed.view])

    def remove(self, package: PackageName) -> bool:
        """Remove a package and its lock entry; says whether there was one.

        Raises:
            PackageError: It cannot be removed.
        """
        with self._changing():
            lock = self.lock()
            was = lock.packages.pop(str(package), None) is not None
            if was:
                lock.write()  # first: what is not locked is not used
            paths = [self.path_of(package)]
            paths += [self.folder / f"{package}{suffix}" for suffix in SIGNATURES]
            for path in paths:
                try:
                    path.unlink()
                    was = True
                except FileNotFoundError:
                    pass
                except OSError as error:
                    raise PackageError(
                        f"{printable(str(path))} cannot be removed: {error.strerror}",
                        "let this user write there",
                    ) from None
            return was

    def packages(self) -> list[PackageName]:
        """Return the packages that the lock knows or that lie here, in order."""
        known = {parse_name(name) for name in self.lock().packages}
        here = {
            parse_name(path.name.removesuffix(SUFFIX)) for path in self.folder.glob(f"*{SUFFIX}")
        }
        found = [package for package in known | here if package is not None]
        return sorted(found, key=lambda one: (one.name, version_key(one.version), one.os, one.arch))

    def prune(self, used: Iterable[tuple[str, str]], *, keep: int = KEPT) -> list[PackageName]:
        """Remove all but the newest versions of each package.

        Args:
            used: Names and versions that stay in any case.
            keep: So many versions stay.

        Returns:
            What was removed.
        """
        used = set(used)
        by_name: dict[tuple[str, str, str], list[PackageName]] = {}
        for package in self.packages():
            by_name.setdefault((package.name, package.os, package.arch), []).append(package)
        gone = [
            package
            for versions in by_name.values()
            for package in versions[: max(0, len(versions) - keep)]
            if (package.name, package.version) not in used
        ]
        return [package for package in gone if self.remove(package)]


def parse_name(text: str) -> PackageName | None:
    """Read a package's whole name; None if it is none. A name may have a ``-`` in it."""
    parts = text.split("-")
    for at in range(1, len(parts)):
        if not parts[at][:1].isdigit():
            continue
        name, rest = "-".join(parts[:at]), parts[at:]
        with contextlib.suppress(PackageError):
            if len(rest) >= 3 and rest[-2] in _SYSTEMS:
                return PackageName(name, "-".join(rest[:-2]), rest[-2], rest[-1])
            return PackageName(name, "-".join(rest))
    return None


_SYSTEMS = {"linux", "darwin", "windows", "freebsd", "openbsd", "netbsd"}
