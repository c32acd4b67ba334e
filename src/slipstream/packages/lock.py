"""``plugins.lock``: the one digest that each package has.

It is written by `slipstream package install` and `update` alone, and meant for version control.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Self

from slipstream.errors import PackageError
from slipstream.files import FileProblem, read_small
from slipstream.packages.archive import Archive
from slipstream.packages.disk import write_whole
from slipstream.packages.names import PackageName
from slipstream.text import printable

FILE = "plugins.lock"
_FORM = 1
_MOST_BYTES = 16 * 1024 * 1024
_DIGEST = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class Locked:
    """What is known of a package.

    Attributes:
        sha256: Of its archive.
        signer: Who had signed it.
        origin: Where it came from: a scheme, host and port, or "local".
    """

    sha256: str
    signer: str
    origin: str


class Lock:
    """The file, as it was when it was read.

    Attributes:
        path: The file.
        packages: What is known of each package, by its whole name.
    """

    def __init__(self, path: Path, packages: Mapping[str, Locked] | None = None) -> None:
        """Begin with these packages."""
        self.path = path
        self.packages = dict(packages or {})

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read it; one that is not there is empty.

        Raises:
            PackageError: It cannot be read, or is damaged.
        """
        where = printable(str(path))
        try:
            content = read_small(path, _MOST_BYTES)
        except FileProblem as problem:
            if problem.reason == "does not exist":
                return cls(path)
            raise PackageError(
                f"the lock {where} {problem.reason}", problem.hint("restore it")
            ) from None
        try:
            said = json.loads(content)
            if said["form"] != _FORM:
                raise ValueError(said["form"])
            packages = {str(name): Locked(**one) for name, one in said["packages"].items()}
            if not all(_DIGEST.fullmatch(one.sha256) for one in packages.values()):
                raise ValueError
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            raise PackageError(
                f"the lock {where} is damaged, or of another version of slipstream",
                "restore it from version control",
            ) from None
        return cls(path, packages)

    def write(self) -> None:
        """Write it in one step.

        Raises:
            PackageError: It cannot be written; what was there still is.
        """
        packages = {name: asdict(one) for name, one in sorted(self.packages.items())}
        text = json.dumps({"form": _FORM, "packages": packages}, indent=2) + "\n"
        write_whole(self.path, [text.encode()])

    def find(self, package: PackageName) -> Locked | None:
        """Return what is known of a package."""
        return self.packages.get(str(package))

    def require(self, archive: Archive) -> Locked:
        """Return the entry of an archive.

        Raises:
            PackageError: There is none, or it is of other bytes.
        """
        known = self.find(archive.package)
        if known is None:
            raise PackageError(
                f"{archive.name} is not in {printable(str(self.path))}",
                f"slipstream package install {archive.package.name} {archive.package.version}",
            )
        if known.sha256 != archive.digest:
            raise PackageError(
                f"{archive.name} has SHA-256 {archive.digest}, and {printable(str(self.path))} "
                f"has {known.sha256}",
                "a version that was published never changes: find out who has changed it",
            )
        return known
