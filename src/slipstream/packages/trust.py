"""Whose packages are used: keys of the operator's, each for certain names from a certain origin.

Nothing here ever lets a package pass because something is missing: no key, no signature, no lock
entry and no library to check with are refusals.
"""

from __future__ import annotations

import fnmatch
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from slipstream.errors import PackageError
from slipstream.files import FileProblem, read_small
from slipstream.packages import minisign, openpgp
from slipstream.packages.archive import Archive
from slipstream.packages.names import SIGNATURES
from slipstream.text import printable

LOCAL = "local"
"""The origin of what the operator has put into a folder."""

MOST_KEY_BYTES = 256 * 1024
MINISIGN, OPENPGP = SIGNATURES
SKIPPED = "not verified"


@dataclass(frozen=True, slots=True)
class TrustedKey:
    """A public key that the operator has named.

    Attributes:
        where: Its file, for people.
        content: What is in it.
        names: A pattern of the names that it vouches for.
        origin: The scheme, host and port that they come from, or "local"; "*": from anywhere.
    """

    where: str
    content: bytes
    names: str = "*"
    origin: str = "*"

    @property
    def is_minisign(self) -> bool:
        """Whether it is one of minisign; else one of OpenPGP."""
        return self.content.startswith(b"untrusted comment:")

    def serves(self, name: str, origin: str) -> bool:
        """Whether it may vouch for a package of that name from that origin."""
        return fnmatch.fnmatchcase(name, self.names) and self.origin in {"*", origin}

    @property
    def id(self) -> str:
        """What it is called.

        Raises:
            PackageError: It is no key.
        """
        key = self.open()
        return key.id if self.is_minisign else openpgp.fingerprint(key)

    def open(self) -> Any:
        """Return the key itself.

        Raises:
            PackageError: It is none.
        """
        if self.is_minisign:
            text = self.content.decode("utf-8", "replace")
            return minisign.read_public(text, f"the key {self.where}")
        return openpgp.read_cert(self.content, f"the key {self.where}")

    def verify(self, archive: Archive, signature: bytes, what: str) -> str:
        """See whether it has signed an archive; return the signer.

        Raises:
            PackageError: It has not.
        """
        key = self.open()
        if self.is_minisign:
            text = signature.decode("utf-8", "replace")
            minisign.verify(key, archive.sealed.view, text, what)
            return f"minisign:{key.id}"
        openpgp.verify(key, archive.digest, signature, what)
        return f"openpgp:{openpgp.fingerprint(key)}"


def read_key(path: Path, names: str = "*", origin: str = "*") -> TrustedKey:
    """Read a public key's file.

    Raises:
        PackageError: It is none, or cannot be read.
    """
    where = printable(str(path))
    try:
        content = read_small(path, MOST_KEY_BYTES)
    except FileProblem as problem:
        raise PackageError(
            f"the key {where} {problem.reason}", problem.hint("name the file of a public key")
        ) from None
    key = TrustedKey(where, content, names, origin)
    key.open()
    return key


def signer_of(
    archive: Archive,
    signatures: Mapping[str, bytes],
    keys: Iterable[TrustedKey],
    origin: str,
) -> str:
    """Return who has signed an archive, of those who may.

    Args:
        archive: The package.
        signatures: Its signatures by the ends of their files' names.
        keys: Those that the operator has named.
        origin: Where it comes from.

    Raises:
        PackageError: Nobody has, who may.
    """
    name, keys = archive.package.name, list(keys)
    if not keys:
        raise PackageError(
            f"{archive.name} is not verified: no public key is named",
            "name one: --plugins.publickey; central.publicKeyURI or trust in the settings; --key",
        )
    if not signatures:
        raise PackageError(
            f"{archive.name} has no signature",
            f"put {archive.package}{MINISIGN} or {archive.package}{OPENPGP} beside it",
        )
    serving = [key for key in keys if key.serves(name, origin)]
    if not serving:
        said = "; ".join(f"{key.where} for {key.names} from {key.origin}" for key in keys)
        raise PackageError(
            f"no key may vouch for {printable(name)} from {printable(origin)}: {said}",
            "name a key for it, if you trust whoever made it",
        )
    problem: PackageError | None = None
    for key in serving:
        suffix = MINISIGN if key.is_minisign else OPENPGP
        if suffix not in signatures:
            continue
        try:
            return key.verify(
                archive, signatures[suffix], f"the signature {archive.package}{suffix}"
            )
        except PackageError as error:
            problem = error
    if problem is not None:
        raise problem
    kinds = " or ".join(sorted({MINISIGN if key.is_minisign else OPENPGP for key in serving}))
    raise PackageError(
        f"{archive.name} has a signature of another kind than the keys that may vouch for it",
        f"put {archive.package}{kinds} beside it",
    )


def read_signatures(archive: Path) -> dict[str, bytes]:
    """Read the signatures that lie beside an archive, as far as there are such.

    Raises:
        PackageError: One cannot be read.
    """
    stem = archive.name.removesuffix(".zip")
    found: dict[str, bytes] = {}
    for suffix in SIGNATURES:
        path = archive.with_name(f"{stem}{suffix}")
        try:
            found[suffix] = read_small(path, MOST_KEY_BYTES)
        except FileProblem as problem:
            if problem.reason != "does not exist":
                raise PackageError(
                    f"the signature {printable(str(path))} {problem.reason}",
                    problem.hint("fix or remove it"),
                ) from None
    return found
