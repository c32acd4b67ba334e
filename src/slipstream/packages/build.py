"""Making packages: the same input gives the same bytes, wherever and whenever.

Nothing is compressed, as two versions of zlib need not make the same of one input; entries are in
the order of their names, and have no time, owner or mode but what follows from what they are.
"""

from __future__ import annotations

import hashlib
import json
import os
import stat
import struct
import zlib
from collections.abc import Mapping
from pathlib import Path

from slipstream.errors import PackageError
from slipstream.files import FileProblem, read_small
from slipstream.library import read_file
from slipstream.packages import meta
from slipstream.packages.archive import Archive
from slipstream.packages.disk import write_whole
from slipstream.packages.meta import PackageMeta, read_meta
from slipstream.packages.names import SUFFIX, PackageName, own_system
from slipstream.packages.sealed import MOST_BYTES, Sealed
from slipstream.packages.zips import MOST_FILES
from slipstream.text import printable

_DATE = 1 << 5 | 1  # 1 January 1980, the first day that zip files know
_UTF8 = 2048
_HINT = "give --name and --version, or a library with slipstream_info_v1"


def zip_of(files: Mapping[str, tuple[bytes, int]]) -> bytes:
    """Return a zip file of contents and modes by their names."""
    out, directory = bytearray(), bytearray()
    for name, (content, mode) in files.items():
        raw, at, crc = name.encode(), len(out), zlib.crc32(content)
        fields = (20, _UTF8, 0, 0, _DATE, crc, len(content), len(content), len(raw), 0)
        out += struct.pack("<4s5HIIIHH", b"PK\3\4", *fields) + raw + content
        directory += struct.pack("<4sBB", b"PK\1\2", 20, 3) + struct.pack("<5HIIIHH", *fields)
        directory += struct.pack("<3HII", 0, 0, 0, (stat.S_IFREG | mode) << 16, at) + raw
    end = struct.pack(
        "<4s4H2IH", b"PK\5\6", 0, 0, len(files), len(files), len(directory), len(out), 0
    )
    return bytes(out + directory + end)


def build(  # noqa: PLR0913 - what may be said of a package
    source: Path,
    out: Path,
    *,
    name: str = "",
    version: str = "",
    interfaces: tuple[str, ...] = (),
    anywhere: bool = False,
) -> Archive:
    """Make a package.

    Args:
        source: A library; or a folder with a library and what belongs to it, perhaps with a
            ``plugin-meta.json``.
        out: The folder that the package is written to.
        name: Its name, if nothing else says it.
        version: Its version, likewise.
        interfaces: The interfaces that it is made for.
        anywhere: It is for whichever system.

    Returns:
        The package, read and checked as whoever gets it does.

    Raises:
        PackageError: It would be refused, or cannot be written.
    """
    said: PackageMeta | None = None
    files = {source.name: source} if not source.is_dir() else _files_of(source)
    if meta.FILE in files:
        said = read_meta(_read(files.pop(meta.FILE)), printable(str(source)))
    entrypoint = said.entrypoint if said is not None else _entrypoint(source, files)
    if entrypoint not in files:
        raise PackageError(
            f"the entrypoint {printable(entrypoint)} is not in {printable(str(source))}",
            "put the library at the top of the folder",
        )
    contents = {path: _read(file) for path, file in files.items()}
    made = _described(files[entrypoint], said, name, version, anywhere=anywhere)
    digests = {path: hashlib.sha256(content).hexdigest() for path, content in contents.items()}
    if made.interfaces or not interfaces:
        interfaces = made.interfaces
    whole = PackageMeta(
        package=made.package,
        entrypoint=entrypoint,
        parameters=made.parameters,
        interfaces=interfaces,
        abi=made.abi,
        config_schema=made.config_schema,
        files=digests,
    )
    parts = {meta.FILE: (whole.to_json().encode(), 0o644)}
    for path in sorted(contents):
        parts[path] = (contents[path], 0o755 if path == entrypoint else 0o644)
    target = out / f"{whole.package}{SUFFIX}"
    archive = Archive(Sealed(printable(str(target)), [zip_of(parts)]))
    write_whole(target, [archive.sealed.view])
    return archive


def _described(
    library: Path, said: PackageMeta | None, name: str, version: str, *, anywhere: bool
) -> PackageMeta:
    info = read_file(library).info()
    package = None if said is None else said.package
    name = name or (package.name if package else "") or (info.name if info else "")
    version = version or (package.version if package else "") or (info.version if info else "")
    if not name or not version:
        raise PackageError(f"the name and version of {library.name} are not known", _HINT)
    system, machine = ("", "") if anywhere else own_system()
    if package is not None and package.os:
        system, machine = package.os, package.arch
    schema = None if info is None else info.config_schema
    if said is not None and said.config_schema is not None:
        schema = said.config_schema
    return PackageMeta(
        package=PackageName(name, version, system, machine),
        entrypoint=library.name,
        parameters=() if said is None else said.parameters,
        interfaces=() if said is None else said.interfaces,
        abi=1,
        config_schema=None if schema is None else json.loads(json.dumps(schema)),
    )


def _entrypoint(source: Path, files: Mapping[str, Path]) -> str:
    found = [name for name in files if "/" not in name and name.endswith(".so")]
    if not source.is_dir():
        found = [source.name]
    if len(found) == 1:
        return found[0]
    raise PackageError(
        f"{printable(str(source))} has {len(found)} libraries at its top",
        f"write a {meta.FILE} with its entrypoint",
    )


def _unreadable(error: OSError) -> None:
    raise PackageError(
        f"{printable(str(error.filename))} cannot be opened: {error.strerror}",
        "let this user read the folder and all in it",
    )


def _files_of(folder: Path) -> dict[str, Path]:
    files: dict[str, Path] = {}
    for at, folders, names in os.walk(folder, onerror=_unreadable):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(names):
            path = Path(at) / name
            if not name.startswith(".") and path.suffix != SUFFIX and not path.is_symlink():
                files[path.relative_to(folder).as_posix()] = path
        if len(files) > MOST_FILES:
            raise PackageError(
                f"{printable(str(folder))} has more than {MOST_FILES} files", "package fewer"
            )
    return files


def _read(path: Path) -> bytes:
    try:
        return read_small(path, MOST_BYTES)
    except FileProblem as problem:
        raise PackageError(
            f"{printable(str(path))} {problem.reason}", problem.hint("package regular files only")
        ) from None
