"""How a library is linked, by its file alone: what it exports, needs, and asks of the loader.

It is read by LIEF, which knows ELF, PE and Mach-O; that is an extra (``slipstream[check]``).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import lief

_PE_NX_COMPATIBLE = 0x100
_PE_WRITES_AND_EXECUTES = 0xA0000000
_MACHO_WRITES_AND_EXECUTES = 6
_GLIBC = re.compile(r"GLIBC_(\d+(?:\.\d+)*)")


class NoLiefError(Exception):
    """LIEF is not installed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Linked:
    """What a library's file says to the loader; None is what its format does not know.

    Attributes:
        format: "ELF", "PE" or "Mach-O".
        exports: The names that it exports, as C spells them.
        unique: Those of them that are unique in the process (STB_GNU_UNIQUE).
        needed: The libraries that it needs.
        paths: Where it has them looked for.
        glibc: Each version of glibc that it needs, and a name that needs it.
        no_delete: It is not to be unmapped.
        static_tls: Its thread-local storage is static.
        text_relocations: Its code is written to when it is loaded.
        executable_stack: It wants executable stacks.
        writable_code: Its segments that can be written and executed.
        relro: Its relocated data become read-only.
    """

    format: str
    exports: tuple[str, ...]
    unique: tuple[str, ...] = ()
    needed: tuple[str, ...]
    paths: tuple[str, ...] | None = None
    glibc: tuple[tuple[tuple[int, ...], str], ...] | None = None
    no_delete: bool | None = None
    static_tls: bool | None = None
    text_relocations: bool | None = None
    executable_stack: bool
    writable_code: tuple[str, ...]
    relro: bool | None = None


def linked(path: Path) -> Linked | None:
    """Read how a library is linked.

    Args:
        path: Its file.

    Returns:
        None if LIEF cannot read it.

    Raises:
        NoLiefError: LIEF is not installed.
    """
    try:
        status = path.stat()
    except OSError:
        return None
    return _read(path, status.st_mtime_ns, status.st_size)


@lru_cache(maxsize=4)
def _read(path: Path, _time: int, _size: int) -> Linked | None:
    try:
        import lief  # noqa: PLC0415 - an extra, and 50 ms
    except ImportError:
        raise NoLiefError from None
    lief.logging.disable()
    if lief.is_elf(path):
        config = lief.ELF.ParserConfig()
        config.parse_relocations = config.parse_symtab_symbols = config.parse_notes = False
        config.parse_overlay = False
        elf = lief.ELF.parse(path, config)
        return _elf(elf) if isinstance(elf, lief.ELF.Binary) else None
    if lief.is_pe(path):
        pe = lief.PE.parse(path)
        return _pe(pe) if isinstance(pe, lief.PE.Binary) else None
    if lief.is_macho(path):
        fat = lief.MachO.parse(path)
        macho = None if fat is None else fat.at(0)
        return _macho(macho) if macho is not None else None
    return None


def _elf(binary: lief.ELF.Binary) -> Linked:
    import lief  # noqa: PLC0415

    tags = lief.ELF.DynamicEntry.TAG
    segments = {segment.type: segment for segment in binary.segments}
    stack = segments.get(lief.ELF.Segment.TYPE.GNU_STACK)
    execute, write = lief.ELF.Segment.FLAGS.X, lief.ELF.Segment.FLAGS.W
    flags = binary.get(tags.FLAGS)
    flags_1 = binary.get(tags.FLAGS_1)
    exported = [
        symbol
        for symbol in binary.dynamic_symbols
        if symbol.shndx != 0
        and symbol.binding != lief.ELF.Symbol.BINDING.LOCAL
        and symbol.visibility
        in {lief.ELF.Symbol.VISIBILITY.DEFAULT, lief.ELF.Symbol.VISIBILITY.PROTECTED}
    ]

    def has(entry: object, flag: lief.ELF.DynamicEntryFlags.FLAG) -> bool:
        return isinstance(entry, lief.ELF.DynamicEntryFlags) and entry.has(flag)

    flag = lief.ELF.DynamicEntryFlags.FLAG
    return Linked(
        format="ELF",
        exports=tuple(_text(symbol.name) for symbol in exported),
        unique=tuple(
            _text(symbol.name)
            for symbol in exported
            if symbol.binding == lief.ELF.Symbol.BINDING.GNU_UNIQUE
        ),
        needed=tuple(map(_text, binary.libraries)),
        paths=tuple(
            _text(path)
            for entry in binary.dynamic_entries
            if isinstance(entry, lief.ELF.DynamicEntryRunPath | lief.ELF.DynamicEntryRpath)
            for path in entry.paths
        ),
        glibc=tuple(_glibc_of(binary)),
        no_delete=has(flags_1, flag.NODELETE),
        static_tls=has(flags, flag.STATIC_TLS),
        text_relocations=binary.get(tags.TEXTREL) is not None or has(flags, flag.TEXTREL),
        executable_stack=stack is None or stack.has(execute),
        writable_code=tuple(
            f"at {segment.virtual_address:#x}, {segment.virtual_size} bytes"
            for segment in binary.segments
            if segment.type == lief.ELF.Segment.TYPE.LOAD
            and segment.has(execute)
            and segment.has(write)
        ),
        relro=lief.ELF.Segment.TYPE.GNU_RELRO in segments,
    )


def _glibc_of(binary: lief.ELF.Binary) -> Iterator[tuple[tuple[int, ...], str]]:
    """Yield each version of glibc that is needed, with the first name that needs it."""
    names: dict[str, str] = {}
    for symbol in binary.dynamic_symbols:
        version = symbol.symbol_version
        if version is not None and version.symbol_version_auxiliary is not None:
            names.setdefault(_text(version.symbol_version_auxiliary.name), _text(symbol.name))
    for requirement in binary.symbols_version_requirement:
        for auxiliary in requirement.get_auxiliary_symbols():
            found = _GLIBC.fullmatch(_text(auxiliary.name))
            if found is not None:
                number = tuple(int(part) for part in found[1].split("."))
                yield number, names.get(found[0], "")


def _pe(binary: lief.PE.Binary) -> Linked:
    export = binary.get_export()
    return Linked(
        format="PE",
        exports=() if export is None else tuple(_text(entry.name) for entry in export.entries),
        needed=tuple(map(_text, binary.libraries)),
        executable_stack=not binary.optional_header.dll_characteristics & _PE_NX_COMPATIBLE,
        writable_code=tuple(
            f"section {_text(section.name)}"
            for section in binary.sections
            if section.characteristics & _PE_WRITES_AND_EXECUTES == _PE_WRITES_AND_EXECUTES
        ),
    )


def _macho(binary: lief.MachO.Binary) -> Linked:
    import lief  # noqa: PLC0415

    return Linked(
        format="Mach-O",
        exports=tuple(sorted(_macho_exports(binary))),
        needed=tuple(
            _text(library.name)
            for library in binary.libraries
            if library.command != lief.MachO.LoadCommand.TYPE.ID_DYLIB
        ),
        paths=tuple(_text(path.path) for path in binary.rpaths),
        executable_stack=lief.MachO.Header.FLAGS.ALLOW_STACK_EXECUTION in binary.header.flags_list,
        writable_code=tuple(
            f"segment {_text(segment.name)}"
            for segment in binary.segments
            if segment.init_protection & _MACHO_WRITES_AND_EXECUTES == _MACHO_WRITES_AND_EXECUTES
        ),
    )


def _macho_exports(binary: lief.MachO.Binary) -> Iterator[str]:
    for where in (binary.dyld_exports_trie, binary.dyld_info):
        for export in where.exports if where is not None else ():
            if export.symbol is not None:
                yield _text(export.symbol.name).removeprefix("_")
    if binary.dyld_exports_trie is None and binary.dyld_info is None:
        for symbol in binary.exported_symbols:
            yield _text(symbol.name).removeprefix("_")


def _text(name: str | bytes) -> str:
    return name if isinstance(name, str) else name.decode("utf-8", "replace")
