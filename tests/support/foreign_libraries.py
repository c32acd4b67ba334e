"""Libraries of Windows and macOS, byte by byte: just what their loaders would look at."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass

X86_64 = {"pe": 0x8664, "macho": 0x01000007}
ARM64 = {"pe": 0xAA64, "macho": 0x0100000C}

CODE, CONSTANT, WRITABLE = "code", "constant", "writable"


@dataclass(frozen=True)
class Export:
    """An exported symbol: the section that it lies in, its bytes, and where it is said to be."""

    section: str
    data: bytes
    at: int | None = None  # an address of its own, outside of all that is there


def plugin(info: bytes | None, section: str = CONSTANT) -> dict[str, Export]:
    """The exports of a plugin with this info."""
    exports = {"slipstream_create_plugin_v1": Export(CODE, b"\xc3" * 16)}
    if info is not None:
        exports["slipstream_info_v1"] = Export(section, info)
    return exports


def _place(
    exports: Mapping[str, Export], section: str, address: int
) -> tuple[bytes, dict[str, int]]:
    data, places = b"", {}
    for name, export in exports.items():
        if export.section == section:
            places[name] = address + len(data) if export.at is None else export.at
            data += export.data
    return data, places


def pe(
    exports: Mapping[str, Export], *, bits: int = 64, padding: int = 0, sections_more: int = 0
) -> bytes:
    """A DLL."""
    flags = {CODE: 0x60000020, CONSTANT: 0x40000040, WRITABLE: 0xC0000040}
    sections: list[tuple[int, int, bytes]] = []  # address, flags, bytes
    places: dict[str, int] = {}
    address = 0x1000
    for section, flag in flags.items():
        data, found = _place(exports, section, address)
        places |= found
        sections.append((address, flag, data))
        address += (len(data) + 0xFFF) // 0x1000 * 0x1000 + 0x1000
    names = sorted(exports)
    head = 40
    functions, name_array = address + head, address + head + 4 * len(names)
    ordinals = name_array + 4 * len(names)
    texts = ordinals + 2 * len(names)
    words, pointers = b"", []
    for name in names:
        pointers.append(texts + len(words))
        words += name.encode() + b"\0"
    directory = struct.pack(
        "<10I", 0, 0, 0, 0, 1, len(names), len(names), functions, name_array, ordinals
    )
    directory += struct.pack(f"<{len(names)}I", *(places[name] for name in names))
    directory += struct.pack(f"<{len(names)}I", *pointers)
    directory += struct.pack(f"<{len(names)}H", *range(len(names))) + words
    sections.append((address, flags[CONSTANT], directory))
    sections.append((address + 0x10000, flags[CONSTANT], bytes(padding)))
    sections += [(address + 0x20000 + n, flags[CONSTANT], b"") for n in range(sections_more)]
    wide = bits == 64
    optional_len = (112 if wide else 96) + 16 * 8
    coff = struct.pack("<4sHHIIIHH", b"PE\0\0", 0x8664 if wide else 0x14C, len(sections), 0, 0, 0,
                       optional_len, 0x2022)  # fmt: skip
    optional = struct.pack("<H", 0x20B if wide else 0x10B).ljust(108 if wide else 92, b"\0")
    optional += struct.pack("<3I", 16, address, len(directory))
    headers, body = b"", b""
    start = 0x400 if not sections_more else 0x2000
    for place, flag, data in sections:
        size = (len(data) + 511) // 512 * 512
        headers += struct.pack(
            "<8s6I2HI", b"x", len(data), place, size, start + len(body), 0, 0, 0, 0, flag
        )
        body += data.ljust(size, b"\0")
    dos = b"MZ".ljust(0x3C, b"\0") + struct.pack("<I", 0x40)
    return (dos + coff + optional.ljust(optional_len, b"\0") + headers).ljust(start, b"\0") + body


def _uleb(number: int) -> bytes:
    out = b""
    while number > 0x7F:
        out, number = out + bytes([number & 0x7F | 0x80]), number >> 7
    return out + bytes([number])


def _trie(places: Mapping[str, int]) -> bytes:
    """An export trie: a root with the common beginning, below it a leaf for each symbol."""
    leaves = [(f"_{name}".encode(), _uleb(0) + _uleb(at)) for name, at in sorted(places.items())]
    # Offsets are written in three bytes each, so that the size is known before.
    size = 2 + sum(len(name) + 1 + 3 for name, _ in leaves)
    root, rest = b"\0" + bytes([len(leaves)]), b""
    for name, said in leaves:
        at = size + len(rest)
        root += name + b"\0" + bytes([at & 0x7F | 0x80, at >> 7 & 0x7F | 0x80, at >> 14])
        rest += _uleb(len(said)) + said + b"\0"
    return root + rest


def macho(
    exports: Mapping[str, Export],
    *,
    bits: int = 64,
    cpu: int | None = None,
    padding: int = 0,
    commands_more: int = 0,
) -> bytes:
    """A dylib: __TEXT with code and constants, __DATA, and the export trie in __LINKEDIT.

    `commands_more` follow that say nothing.
    """
    wide = bits == 64
    segment_len, section_len = (72, 80) if wide else (56, 68)
    header = 32 if wide else 28
    commands_len = 3 * segment_len + 4 * section_len + 16 + 8 * commands_more
    start = (header + commands_len + 15) // 16 * 16
    code, places = _place(exports, CODE, start)
    constant, more = _place(exports, CONSTANT, start + len(code))
    text_len = (start + len(code) + len(constant) + padding + 0xFFF) // 0x1000 * 0x1000
    writable, rest = _place(exports, WRITABLE, text_len)
    places |= more | rest
    data_len = (len(writable) + 0xFFF) // 0x1000 * 0x1000 + 0x1000
    trie = _trie(places)
    word = "Q" if wide else "I"

    def section(name: bytes, at: int, size: int, flags: int) -> bytes:
        tail = "<7I" if not wide else "<8I"
        values = [at, 0, 0, 0, flags, 0, 0] + ([0] if wide else [])
        return struct.pack(f"<16s16s2{word}", name, b"__TEXT", at, size) + struct.pack(
            tail, *values
        )

    def segment(name: bytes, at: int, size: int, protection: int, sections: list[bytes]) -> bytes:
        length = segment_len + len(b"".join(sections))
        head = struct.pack(f"<2I16s4{word}", 0x19 if wide else 1, length, name, at, size, at, size)
        return head + struct.pack("<4I", 7, protection, len(sections), 0) + b"".join(sections)

    commands = segment(b"__TEXT", 0, text_len, 5, [
        section(b"__text", start, len(code), 0x80000400),
        section(b"__const", start + len(code), len(constant) + padding, 0),
    ])  # fmt: skip
    commands += segment(b"__DATA", text_len, data_len, 3, [
        section(b"__data", text_len, len(writable), 0),
        section(b"__bss", text_len + len(writable), 64, 1),
    ])  # fmt: skip
    commands += segment(b"__LINKEDIT", text_len + data_len, len(trie), 1, [])
    commands += struct.pack("<4I", 0x80000033, 16, text_len + data_len, len(trie))
    commands += struct.pack("<2I", 0x31, 8) * commands_more
    machine = cpu or (X86_64["macho"] if wide else 7)
    magic, count = 0xFEEDFACF if wide else 0xFEEDFACE, 4 + commands_more
    head = struct.pack("<7I", magic, machine, 3, 6, count, len(commands), 0)
    whole = (head + bytes(header - 28) + commands).ljust(start, b"\0") + code + constant
    return whole.ljust(text_len, b"\0") + writable.ljust(data_len, b"\0") + trie


def fat(slices: Mapping[int, bytes], *, wide: bool = False) -> bytes:
    """A file for several machines."""
    table, body = b"", b""
    start = 0x1000
    for cpu, data in slices.items():
        at = start + len(body)
        if wide:
            table += struct.pack(">IIQQII", cpu, 3, at, len(data), 12, 0)
        else:
            table += struct.pack(">5I", cpu, 3, at, len(data), 12)
        body += data.ljust((len(data) + 0xFFF) // 0x1000 * 0x1000, b"\0")
    head = struct.pack(">II", 0xCAFEBABF if wide else 0xCAFEBABE, len(slices))
    return (head + table).ljust(start, b"\0") + body
