"""Files that a host on Windows has to refuse, made of a good library's bytes: what is said."""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass

from slipstream import Refusal

NOT = Refusal.NOT_A_LIBRARY
NONE = Refusal.NO_CONSTRUCTOR
FOREIGN = Refusal.WRONG_ARCHITECTURE
CANNOT = Refusal.CANNOT_OPEN
OTHER = ("is not a shared library", "libpath has to name the compiled plugin")
DAMAGED = ("the file ends too early, or contradicts itself", "build or copy it again")
MISSING = ("does not export slipstream_create_plugin_v1", "declare it with SLIPSTREAM_EXPORT")
COFF, SECTION = 24, 40


@dataclass(frozen=True)
class FileCase:
    """A file, and its refusal: the reason, and parts of the message and of the hint."""

    name: str
    refusal: Refusal
    says: str
    hint: str
    make: Callable[[bytes], bytes]


class Layout:
    """Where in a good library what lies."""

    def __init__(self, good: bytes) -> None:
        self.good = good
        self.header = self.u32(0x3C)
        self.optional = self.header + COFF
        self.sections = self.optional + struct.unpack_from("<H", good, self.header + 20)[0]
        self.count = struct.unpack_from("<H", good, self.header + 6)[0]
        self.exports_rva = self.u32(self.optional + 112)
        self.exports = self.at(self.exports_rva)

    def u32(self, at: int) -> int:
        return struct.unpack_from("<I", self.good, at)[0]

    def at(self, rva: int) -> int:
        for n in range(self.count):
            size, address, _, offset = struct.unpack_from(
                "<4I", self.good, self.sections + n * SECTION + 8
            )
            if address <= rva < address + size:
                return offset + rva - address
        raise AssertionError(hex(rva))

    def section(self, name: bytes) -> int:
        """Where the entry of a section lies."""
        at = self.good.index(name.ljust(8, b"\0"), self.sections)
        assert (at - self.sections) % SECTION == 0
        return at


def put(where: Callable[[Layout], int], form: str, value: int) -> Callable[[bytes], bytes]:
    """Another number at a place."""

    def make(good: bytes) -> bytes:
        out, at = bytearray(good), where(Layout(good))
        struct.pack_into(form, out, at, value)
        return bytes(out)

    return make


def cut(where: Callable[[Layout], int]) -> Callable[[bytes], bytes]:
    """The beginning alone."""
    return lambda good: good[: where(Layout(good))]


def header(at: int) -> Callable[[Layout], int]:
    return lambda layout: layout.header + at


def optional(at: int) -> Callable[[Layout], int]:
    return lambda layout: layout.optional + at


def section(name: bytes, at: int) -> Callable[[Layout], int]:
    return lambda layout: layout.section(name) + at


def exports(at: int) -> Callable[[Layout], int]:
    return lambda layout: layout.exports + at


def point_constructor_at(name: bytes | None) -> Callable[[bytes], bytes]:
    """The constructor is said to lie in a section, or, as forwarders do, among the exports."""

    def make(good: bytes) -> bytes:
        out, layout = bytearray(good), Layout(good)
        functions = layout.at(layout.u32(layout.exports + 28))
        if name is None:
            rva = layout.exports_rva + 40
        else:
            rva = layout.u32(layout.section(name) + 12) + 16
        # The constructor is the first of the two by name, and the linker numbers them so.
        struct.pack_into("<I", out, functions, rva)
        return bytes(out)

    return make


def object_file(good: bytes) -> bytes:
    """The part behind the signature, as compilers write objects."""
    layout = Layout(good)
    return good[layout.header + 4 :]


FILES = [
    FileCase("a text", NOT, *OTHER, lambda _: b"#include <slipstream.h>\n"),
    FileCase("an empty file", NOT, "is an empty file", "build it again", lambda _: b""),
    FileCase("one byte", NOT, *OTHER, lambda _: b"M"),
    FileCase("zeros", NOT, *OTHER, lambda _: bytes(4096)),
    FileCase("a script", NOT, *OTHER, lambda _: b"@echo off\r\nexit /b 0\r\n"),
    FileCase("an archive", NOT, *OTHER, lambda _: b"PK\x03\x04" + bytes(100)),
    FileCase("an object file", NOT, *OTHER, object_file),
    FileCase(
        "an import library", NOT, "is a static library", "link it as a shared library",
        lambda _: b"!<arch>\n/               0           0     0     0       4         `\n" + bytes(4),
    ),
    FileCase(
        "a Linux library", NOT, "is a Linux library (ELF)", "use the plugin's build for Windows",
        lambda _: b"\x7fELF\x02\x01\x01" + bytes(1000),
    ),
    FileCase(
        "a macOS library", NOT, "is a macOS library (Mach-O)", "use the plugin's build for Windows",
        lambda _: b"\xcf\xfa\xed\xfe" + bytes(1000),
    ),
    FileCase(
        "a macOS library for two machines", NOT, "is a macOS library (Mach-O)",
        "use the plugin's build for Windows",
        lambda _: b"\xca\xfe\xba\xbe\0\0\0\x02" + bytes(1000),
    ),
    # ---- Cut off
    FileCase("MZ alone", NOT, *DAMAGED, lambda _: b"MZ"),
    FileCase("a DOS program", NOT, *DAMAGED, lambda _: b"MZ" + bytes(1000)),
    FileCase("cut before the PE header", NOT, *DAMAGED, cut(header(0))),
    FileCase("cut in the signature", NOT, *DAMAGED, cut(header(2))),
    FileCase("cut in the COFF header", NOT, *DAMAGED, cut(header(20))),
    FileCase("cut before the optional header", NOT, *DAMAGED, cut(optional(0))),
    FileCase("cut in the optional header", NOT, *DAMAGED, cut(optional(100))),
    FileCase("cut in the section table", NOT, *DAMAGED, cut(lambda at: at.sections + 50)),
    FileCase("cut before the sections", NOT, *DAMAGED, cut(lambda at: at.sections + 40 * at.count)),
    FileCase("cut in the exports", NOT, *DAMAGED, cut(exports(30))),
    # ---- Headers that lie
    FileCase("a header beyond the end", NOT, *DAMAGED, put(lambda _: 0x3C, "<I", 0x7FFFFFF0)),
    FileCase("a header at the last address", NOT, *DAMAGED, put(lambda _: 0x3C, "<I", 0xFFFFFFFF)),
    FileCase("a header in the header", NOT, *DAMAGED, put(lambda _: 0x3C, "<I", 0)),
    FileCase("a header inside of itself", NOT, *DAMAGED, put(lambda _: 0x3C, "<I", 4)),
    FileCase("a 16-bit library", NOT, *DAMAGED, put(header(0), "<I", 0x454E)),
    FileCase("a driver of Windows 95", NOT, *DAMAGED, put(header(0), "<I", 0x454C)),
    FileCase("no kind of optional header", NOT, *DAMAGED, put(optional(0), "<H", 0)),
    FileCase("a ROM image", NOT, *DAMAGED, put(optional(0), "<H", 0x107)),
    FileCase("65535 sections", NOT, *DAMAGED, put(header(6), "<H", 0xFFFF)),
    FileCase("97 sections", NOT, *DAMAGED, put(header(6), "<H", 97)),
    FileCase("no section", NOT, *DAMAGED, put(header(6), "<H", 0)),
    FileCase("an optional header without end", NOT, *DAMAGED, put(header(20), "<H", 0xFFFF)),
    FileCase("exports outside of all sections", NOT, *DAMAGED, put(optional(112), "<I", 0x7FFFFFF0)),
    FileCase("exports in the headers", NOT, *DAMAGED, put(optional(112), "<I", 0x40)),
    # ---- For another machine
    FileCase("AArch64", FOREIGN, "is built for AArch64 (64 bit)", "x86-64", put(header(4), "<H", 0xAA64)),
    FileCase("i386", FOREIGN, "is built for x86", "x86-64", put(header(4), "<H", 0x14C)),
    FileCase("ARM", FOREIGN, "is built for ARM", "x86-64", put(header(4), "<H", 0x1C4)),
    FileCase("machine 4660", FOREIGN, "an unknown machine", "x86-64", put(header(4), "<H", 0x1234)),
    FileCase("32 bit", FOREIGN, "32 bit", "x86-64", put(optional(0), "<H", 0x10B)),
    # ---- What it exports
    FileCase("no optional header", NONE, *MISSING, put(header(20), "<H", 0)),
    FileCase("no exports", NONE, *MISSING, put(optional(112), "<I", 0)),
    FileCase("no names", NONE, *MISSING, put(exports(24), "<I", 0)),
    FileCase("names at nowhere", NONE, *MISSING, put(exports(32), "<I", 0x7FFFFFF0)),
    FileCase("four thousand million names", NONE, *MISSING, put(exports(24), "<I", 0xFFFFFFFF)),
    FileCase("no functions", NONE, *MISSING, put(exports(20), "<I", 0)),
    FileCase("functions at nowhere", NONE, *MISSING, put(exports(28), "<I", 0xFFFFFFF0)),
    FileCase("ordinals at nowhere", NONE, *MISSING, put(exports(36), "<I", 0xFFFFFFF0)),
    FileCase(
        "another name", NONE, *MISSING,
        lambda good: good.replace(b"slipstream_create_plugin_v1", b"slipstream_create_plugin_w1"),
    ),
    FileCase(
        "the next ABI", Refusal.WRONG_ABI_MAJOR, "is a plugin for ABI major 3", "a build of the",
        lambda good: good.replace(b"slipstream_create_plugin_v1", b"slipstream_create_plugin_v3"),
    ),
    FileCase("the constructor is data", NONE, "but not as a function", "define it as in",
             point_constructor_at(b".rdata")),
    FileCase("the constructor is another library's", NONE, "but not as a function",
             "define it as in", point_constructor_at(None)),
    FileCase("a program", NOT, "is a program", "link it with -shared",
             put(header(22), "<H", 0x22)),
    # ---- What the loader finds
    FileCase("a library that it needs is missing", CANNOT, "", "dumpbin /dependents",
             lambda good: good.replace(b"KERNEL32.dll", b"KERNEL99.dll")),
    FileCase("code beyond the file's end", CANNOT, "", "dumpbin",
             put(section(b".text", 20), "<I", 0x7FFFFE00)),
    FileCase("sections over each other", CANNOT, "", "dumpbin",
             put(section(b".data", 12), "<I", 0x1000)),
    FileCase("an image of no size", CANNOT, "", "dumpbin", put(optional(56), "<I", 0)),
    # Pages of no size crash the loader of wine 8 itself.
]  # fmt: skip
