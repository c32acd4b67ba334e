"""What the core reads out of a library's file; nothing of the library runs for it."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from slipstream import _native
from slipstream._native import ffi, lib
from slipstream._platform import is_open_path
from slipstream.errors import PluginLoadError, Refusal
from slipstream.library.info import PluginInfo, read_info

if TYPE_CHECKING:
    from slipstream._native.cdef import ss_refusal

REFUSALS: dict[int, Refusal] = {
    getattr(lib, f"SS_REFUSED_{refusal.name}"): refusal
    for refusal in Refusal
    if hasattr(lib, f"SS_REFUSED_{refusal.name}")
}

_FORMATS = {lib.SS_FILE_PE: "PE", lib.SS_FILE_MACH_O: "Mach-O"}
_NO_LIBRARY = {
    lib.SS_FILE_EMPTY: "empty",
    lib.SS_FILE_OTHER: "unknown",
    lib.SS_FILE_ARCHIVE: "static library",
}
_BUILD_ID_ROOM = 129


@dataclass(frozen=True, slots=True, kw_only=True)
class LibraryFile:
    """What a library's file says.

    Attributes:
        path: The file.
        format: "ELF", "PE" or "Mach-O"; else what else it is.
        bits: 32 or 64; 0: not known.
        machine: The machine that it is for; "" if that is not known.
        machines: For how many machines it is.
        has_constructor: It exports slipstream_create_plugin_v1, as a function.
        is_go: It holds the runtime of Go.
        build_id: In hexadecimal; "" if it has none.
        foreign: Why it cannot be loaded here, though it may be a plugin elsewhere.
        refusal: Why it is no plugin: no constructor, or an info that cannot be read.
        text: The JSON of its info; None if it has none, or one that cannot be read.
    """

    path: Path
    format: str
    bits: int
    machine: str
    machines: int
    build_id: str
    has_constructor: bool
    is_go: bool
    foreign: PluginLoadError | None
    refusal: PluginLoadError | None
    text: bytes | None

    def __str__(self) -> str:
        bits = f"{self.bits}-bit " if self.bits else ""
        machines = f" and {self.machines - 1} more" if self.machines > 1 else ""
        machine = f" for {self.machine}{machines}" if self.machine else ""
        return f"{bits}{self.format} file{machine}"

    def info(self) -> PluginInfo | None:
        """Read and judge its info; None if it has none.

        Raises:
            PluginLoadError: It is no plugin, or its info is not what a host takes.
        """
        if self.refusal is not None:
            raise self.refusal
        return None if self.text is None else read_info(self.text, str(self.path))


def _refused(why: ss_refusal) -> PluginLoadError:
    return PluginLoadError(
        _native.text(why.text), _native.text(why.hint), REFUSALS[int(why.number)]
    )


def read_file(path: Path, shown: Path | None = None) -> LibraryFile:
    """Read what a library's file says.

    Args:
        path: The file.
        shown: Its name for people, if that is another one.

    Raises:
        PluginLoadError: The file cannot be read.
    """
    shown = shown or path
    name = bytes(shown)
    if not is_open_path(path):
        path = Path(os.path.realpath(path))
    if path.is_dir():
        raise PluginLoadError(
            f"cannot read {shown}: it is a folder",
            "name the library in it",
            Refusal.CANNOT_OPEN,
        )
    found, why = ffi.new("ss_file *"), ffi.new("ss_refusal *")
    info = ffi.new("char[]", bytes(lib.SLIPSTREAM_INFO_MAX))
    if not lib.ss_file_read(bytes(path), name, found, info, why):
        raise _refused(why)
    own = lib.ss_file_check_kind(name, found, why)
    foreign = None if own else _refused(why)
    good = lib.ss_file_check_exports(name, found, why)
    refusal = None if good else _refused(why)
    is_library = found.kind in {*_FORMATS, lib.SS_FILE_ELF, lib.SS_FILE_FOREIGN}
    if not is_library:
        foreign, refusal = None, foreign
    build_id = ffi.new("char[]", bytes(_BUILD_ID_ROOM))
    lib.ss_file_build_id(bytes(path), build_id, _BUILD_ID_ROOM)
    there = found.info == lib.SS_INFO_THERE
    return LibraryFile(
        path=shown,
        format=_FORMATS.get(found.kind) or _NO_LIBRARY.get(found.kind, "ELF"),
        bits=found.bits,
        machine=_native.text(found.machine_name),
        machines=max(1, found.slices),
        is_go=found.is_go,
        build_id=_native.text(build_id),
        has_constructor=found.has_constructor and found.constructor_is_function,
        foreign=foreign,
        refusal=refusal,
        text=bytes(ffi.buffer(info, found.info_len)) if there else None,
    )


def judge(path: Path, shown: Path) -> PluginInfo | None:
    """Judge a library by its file, as it is before it is opened.

    Args:
        path: The file.
        shown: Its name for people.

    Returns:
        Its info, if it has one.

    Raises:
        PluginLoadError: It cannot be loaded here; `refusal` says why.
    """
    file = read_file(path, shown)
    if file.foreign is not None:
        raise file.foreign
    return file.info()
