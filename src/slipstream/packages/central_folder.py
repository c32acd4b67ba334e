"""A plugin central as a folder, for whichever web server to serve."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

from slipstream.packages.archive import Archive
from slipstream.packages.central import INDEX
from slipstream.packages.disk import write_whole
from slipstream.packages.names import PackageName
from slipstream.packages.settings import DIST, SIG
from slipstream.packages.store import parse_name
from slipstream.packages.trust import MINISIGN, OPENPGP, read_signatures


def make_central(folder: Path, packages: Iterable[Path]) -> list[PackageName]:
    """Lay packages and their signatures into a folder as clients look for them.

    Args:
        folder: The folder; what lies there already stays.
        packages: The archives; each has its signatures beside it.

    Returns:
        All packages that it has then.

    Raises:
        PackageError: One is refused, or cannot be written.
    """
    for path in packages:
        archive = Archive.read(path, elsewhere=True)
        target = folder / archive.package.place(DIST)
        signatures = read_signatures(path)
        if MINISIGN in signatures:
            write_whole(target.with_name(f"{target.name}.minisig"), [signatures[MINISIGN]])
        if OPENPGP in signatures:
            write_whole(folder / archive.package.place(SIG), [signatures[OPENPGP]])
        write_whole(target, [archive.sealed.view])
    found: dict[str, object] = {}
    for path in sorted(folder.rglob("*.zip")):
        if parse_name(path.name.removesuffix(".zip")) is not None:
            archive = Archive.read(path, elsewhere=True)
            found[str(archive.package)] = {"sha256": archive.digest, "size": archive.sealed.size}
    text = json.dumps({"form": 1, "packages": found}, indent=2) + "\n"
    write_whole(folder / INDEX, [text.encode()])
    return [name for name in map(parse_name, found) if name is not None]
