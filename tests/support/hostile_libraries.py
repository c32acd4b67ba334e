"""Libraries that a host has to refuse: how each is made, and what the refusal says."""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from slipstream import Refusal

TEMPLATE = """
#include <slipstream.h>
#include <stdlib.h>
#include <string.h>
#ifdef _WIN32
#include <windows.h>
#else
#include <sys/mman.h>
#include <unistd.h>
#endif

static const slipstream_host *host;
static int data_word = 7;

static inline void say(const char *text) { slipstream_log(host, SLIPSTREAM_LOG_INFO, text); }
static void destroy(void *instance) { (void)instance; say("destroy was called"); }
static inline int32_t on_unload(void *instance, uint32_t timeout_ms) {
    (void)instance; (void)timeout_ms; say("on_unload was called"); return SLIPSTREAM_OK;
}
static inline uint64_t blocks(void *instance) {
    (void)instance; return SLIPSTREAM_KIND_BIT(SLIPSTREAM_KIND_BLOCK);
}
static slipstream_plugin table = {sizeof table, SLIPSTREAM_ABI_MINOR, 0, 0, NULL, "hostile", "1.0",
                                  destroy, NULL, NULL, NULL, NULL, NULL, NULL};

/* A page behind which nothing is mapped. */
#ifdef _WIN32
static inline uint8_t *last_page(void) {
    uint8_t *pages = VirtualAlloc(NULL, 8192, MEM_RESERVE, PAGE_NOACCESS);
    return VirtualAlloc(pages, 4096, MEM_COMMIT, PAGE_READWRITE);
}
static inline void *unmapped(void) {
    uint8_t *page = last_page();
    VirtualFree(page, 0, MEM_RELEASE);
    return page;
}
#else
static inline uint8_t *last_page(void) {
    uint8_t *pages = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    munmap(pages + 4096, 4096);
    return pages;
}
static inline void *unmapped(void) {
    uint8_t *page = last_page();
    munmap(page, 4096);
    return page;
}
#endif
/* MORE */
const slipstream_plugin *slipstream_create_plugin_v1(const slipstream_host *given) {
    host = given;
    (void)data_word;
    /* BODY */
    return &table;
}
"""


def source(body: str = "", more: str = "") -> str:
    """The template's plugin with a body for its constructor, and further functions."""
    return TEMPLATE.replace("/* BODY */", body).replace("/* MORE */", more)


CUT = f" [cut: it has {1 << 20} bytes]"


@dataclass(frozen=True)
class Case:
    """One library, and its refusal: the reason, and parts of the message and of the hint.

    `destroyed` says whether the host calls destroy: only with a table that it trusts.
    """

    name: str
    refusal: Refusal
    says: str
    hint: str
    body: str = ""
    more: str = ""
    flags: tuple[str, ...] = ()
    whole: str = ""
    lines: tuple[str, ...] = ()
    config: dict[str, object] = field(default_factory=dict)

    @property
    def source(self) -> str:
        return self.whole or source(self.body, self.more)


_DESTROYED = ("destroy was called",)
_UNLOADED = ("on_unload was called", "destroy was called")
_NAME_RULE = "a name is 1 to 63 of a-z"
_VERSION_RULE = "a version is 1 to 63 printable"


def _name(case: str, says: str, body: str) -> Case:
    return Case(f"name {case}", Refusal.NAME_INVALID, says, _NAME_RULE, body=body, lines=_DESTROYED)


def _version(case: str, says: str, body: str) -> Case:
    return Case(
        f"version {case}", Refusal.VERSION_INVALID, says, _VERSION_RULE, body, lines=_DESTROYED
    )


def _function(name: str, value: str, says: str) -> Case:
    return Case(
        f"{name} is {value}",
        Refusal.FUNCTION_INVALID,
        f"slipstream_plugin::{name} is {says}",
        "set every unused function to NULL",
        f"uintptr_t bad = {value}; memcpy(&table.{name}, &bad, sizeof bad);",
    )


FUNCTIONS = (
    "destroy",
    "on_load",
    "on_unload",
    "subscribed_events",
    "on_broadcast",
    "flush",
    "get_extension",
)

COMPILED: list[Case] = [
    # ---- What the file exports
    Case(
        "no constructor",
        Refusal.NO_CONSTRUCTOR,
        "is a library, but does not export slipstream_create_plugin_v1",
        "declare it with SLIPSTREAM_EXPORT",
        whole="int some_function(void);\nint some_function(void) { return 1; }\n",
        flags=("-fvisibility=default",),
    ),
    Case(
        "nothing exported",
        Refusal.NO_CONSTRUCTOR,
        "does not export slipstream_create_plugin_v1",
        "declare it with SLIPSTREAM_EXPORT",
        whole="int data[4];\n",
    ),
    Case(
        "constructor hidden",
        Refusal.NO_CONSTRUCTOR,
        "does not export slipstream_create_plugin_v1",
        "declare it with SLIPSTREAM_EXPORT",
        flags=("-DSLIPSTREAM_EXPORT=",),
    ),
    Case(
        "constructor static",
        Refusal.NO_CONSTRUCTOR,
        "does not export slipstream_create_plugin_v1",
        "declare it with SLIPSTREAM_EXPORT",
        whole="__attribute__((used)) static void *slipstream_create_plugin_v1(void) {\n"
        "    return 0; }\n",
    ),
    Case(
        "constructor only needed",
        Refusal.NO_CONSTRUCTOR,
        "does not export slipstream_create_plugin_v1",
        "declare it with SLIPSTREAM_EXPORT",
        whole="void slipstream_create_plugin_v1(void);\nvoid f(void);\n"
        '__attribute__((visibility("default"))) void f(void) { slipstream_create_plugin_v1(); }\n',
    ),
    Case(
        "constructor is data",
        Refusal.NO_CONSTRUCTOR,
        "exports slipstream_create_plugin_v1, but not as a function",
        "define it as in slipstream.h",
        whole='__attribute__((visibility("default"))) int slipstream_create_plugin_v1 = 5;\n\n',
    ),
    Case(
        "constructor is data that claims to be a function",
        Refusal.NO_CONSTRUCTOR,
        "is in memory that cannot be executed",
        "define it as in slipstream.h",
        whole='__asm__(".data\\n.globl slipstream_create_plugin_v1\\n"\n'
        '        ".type slipstream_create_plugin_v1, @function\\n"\n'
        '        "slipstream_create_plugin_v1: .quad 0\\n"\n'
        '        ".size slipstream_create_plugin_v1, 8\\n.text\\n");\n',
    ),
    Case(
        "a Rust-ABI plugin",
        Refusal.RUST_ABI_PLUGIN,
        "exports _create_plugin: it is a Rust-ABI plugin of snarkVM or Geyser",
        "give it slipstream_create_plugin_v1",
        whole='__attribute__((visibility("default"))) void *_create_plugin(void);\n'
        "void *_create_plugin(void) { return 0; }\n",
    ),
    Case(
        "ABI major 2 only",
        Refusal.WRONG_ABI_MAJOR,
        "is a plugin for ABI major 2, this host speaks major 1",
        "use a build of the plugin for major 1, or a host for major 2",
        whole='__attribute__((visibility("default"))) void *slipstream_create_plugin_v2(void);\n'
        "void *slipstream_create_plugin_v2(void) { return 0; }\n",
    ),
    # ---- What the loader finds
    Case(
        "missing symbol",
        Refusal.CANNOT_OPEN,
        "undefined symbol: nowhere_to_be_found",
        "ldd -r",
        "nowhere_to_be_found();",
        "void nowhere_to_be_found(void);",
    ),
    # ---- What the constructor answers
    Case(
        "NULL without text",
        Refusal.CONSTRUCTOR_REFUSED,
        "refused to be created: it returned NULL and gave no reason",
        "documentation",
        "return NULL;",
    ),
    Case(
        "NULL with text",
        Refusal.CONSTRUCTOR_REFUSED,
        "refused to be created: no licence on this machine",
        "documentation",
        'slipstream_fail(host, 0, "no licence on this machine"); return NULL;',
    ),
    Case(
        "NULL with the last of two texts",
        Refusal.CONSTRUCTOR_REFUSED,
        "created: second",
        "documentation",
        'slipstream_fail(host, 0, "the first"); slipstream_fail(host, 0, "second"); return NULL;',
    ),
    Case(
        "NULL with bytes that are no text",
        Refusal.CONSTRUCTOR_REFUSED,
        r"created: \xff\xfe\n\x1b[31mred\x00\x7f \xc0\xaf",
        "documentation",
        'host->set_error(host->ctx, "\\xff\\xfe\\n\\x1b[31mred\\0\\x7f \\xc0\\xaf", 17);'
        " return NULL;",
    ),
    Case(
        "NULL with a megabyte of text",
        Refusal.CONSTRUCTOR_REFUSED,
        "created: " + "x" * (4096 - len(CUT)) + CUT,
        "documentation",
        "char *text = malloc(1 << 20); memset(text, 'x', 1 << 20);"
        " host->set_error(host->ctx, text, 1 << 20); free(text); return NULL;",
    ),
    # ---- The table
    Case(
        "table at address 1",
        Refusal.TABLE_UNREADABLE,
        "the constructor returned 0x1, which is not readable memory",
        "return a table that lives until destroy",
        "return (const slipstream_plugin *)1;",
    ),
    Case(
        "table at an impossible address",
        Refusal.TABLE_UNREADABLE,
        "which is not readable memory",
        "return a table that lives until destroy",
        "return (const slipstream_plugin *)~(uintptr_t)0xFF;",
    ),
    Case(
        "table unmapped",
        Refusal.TABLE_UNREADABLE,
        "which is not readable memory",
        "return a table that lives until destroy",
        "return unmapped();",
    ),
    Case(
        "table of which two bytes can be read",
        Refusal.TABLE_UNREADABLE,
        "which is not readable memory",
        "return a table that lives until destroy",
        "return (const slipstream_plugin *)(void *)(last_page() + 4094);",
    ),
    Case(
        "table that ends at a page's end",
        Refusal.TABLE_UNREADABLE,
        "says that it is 96 bytes, but ends before",
        "set struct_size to sizeof(slipstream_plugin)",
        "uint8_t *at = last_page() + 4096 - 16; memcpy(at, &table, 16);"
        " return (const slipstream_plugin *)(void *)at;",
    ),
    *(
        Case(
            f"table of {size} bytes",
            Refusal.TABLE_TOO_SMALL,
            f"the plugin's table is {size} bytes, the smallest of ABI 1.0 is 96",
            "set struct_size to sizeof(slipstream_plugin)",
            f"table.struct_size = {size};",
        )
        for size in (0, 4, 16, 95)
    ),
    Case(
        "destroy is NULL",
        Refusal.FUNCTION_MISSING,
        "slipstream_plugin::destroy is NULL",
        "destroy is required",
        "table.destroy = NULL;",
    ),
    *(_function(name, "(uintptr_t)&data_word", "0x") for name in FUNCTIONS),
    *(_function(name, "0x41414141", "0x41414141") for name in ("destroy", "on_load", "flush")),
    Case(
        "host too old",
        Refusal.HOST_TOO_OLD,
        "needs a host of ABI 1.1 or newer, this one is 1.0",
        "install a newer slipstream, or an older build of the plugin",
        "table.min_host_minor = 1;",
        lines=_DESTROYED,
    ),
    Case(
        "host far too old",
        Refusal.HOST_TOO_OLD,
        "needs a host of ABI 1.4294967295 or newer",
        "install a newer slipstream",
        "table.min_host_minor = UINT32_MAX;",
        lines=_DESTROYED,
    ),
    _name("NULL", "slipstream_plugin::name is NULL", "table.name = NULL;"),
    _name("at address 8", "points to memory that cannot be read (0x8)", "table.name = (char *)8;"),
    _name("unmapped", "points to memory that cannot be read", "table.name = unmapped();"),
    _name("empty", 'slipstream_plugin::name is ""', 'table.name = "";'),
    _name("in upper case", 'slipstream_plugin::name is "Hostile"', 'table.name = "Hostile";'),
    _name("with a space", 'name is "a b"', 'table.name = "a b";'),
    _name("that starts with a dot", 'name is ".a"', 'table.name = ".a";'),
    _name("that is no UTF-8", r'name is "\xffabc"', 'table.name = "\\xff" "abc";'),
    _name("with a line break", r'name is "a\nb"', 'table.name = "a\\nb";'),
    _name(
        "of 64 bytes",
        "slipstream_plugin::name is longer than 63 bytes",
        f'table.name = "{"n" * 64}";',
    ),
    _name(
        "that never ends",
        "name points to memory that cannot be read",
        "uint8_t *page = last_page(); memset(page, 'a', 4096); table.name = (char *)page + 4080;",
    ),
    _version("NULL", "slipstream_plugin::version is NULL", "table.version = NULL;"),
    _version("unmapped", "version points to memory that", "table.version = unmapped();"),
    _version("empty", 'version is ""', 'table.version = "";'),
    _version("with a tab", r'version is "1\t0"', 'table.version = "1\\t0";'),
    _version("of 64 bytes", "version is longer than 63 bytes", f'table.version = "{"1" * 64}";'),
    Case(
        "EXPLICIT_ACK without flush",
        Refusal.FLUSH_MISSING,
        "slipstream_plugin::flush is NULL, but the plugin has the flag EXPLICIT_ACK",
        "give it a flush, or drop the flag",
        "table.flags = SLIPSTREAM_FLAG_EXPLICIT_ACK;",
        lines=_DESTROYED,
    ),
    Case(
        "subscribes without on_broadcast",
        Refusal.BROADCAST_MISSING,
        "subscribes to events, but slipstream_plugin::on_broadcast is NULL",
        "give it an on_broadcast, or subscribe to nothing",
        "table.subscribed_events = blocks; table.on_unload = on_unload;",
        lines=_UNLOADED,
    ),
    Case(
        "claims payloads without on_broadcast",
        Refusal.BROADCAST_MISSING,
        "claims payloads, but slipstream_plugin::on_broadcast is NULL",
        "give it an on_broadcast, or subscribe to nothing",
        "table.get_extension = extension; table.on_unload = on_unload;",
        "static const char *name_at(void *i, uint32_t n) { (void)i; return n ? NULL : "
        '"greetings"; }\n'
        "static const void *extension(void *i, const char *id) {\n"
        "    static const slipstream_payload_v1 payload = {sizeof payload, 0, name_at};\n"
        "    (void)i; return strcmp(id, SLIPSTREAM_EXT_PAYLOAD) ? NULL : &payload; }\n",
        lines=_UNLOADED,
    ),
]

# ---- Files that no compiler makes ------------------------------------------------------


@dataclass(frozen=True)
class FileCase:
    """A file made of a good library's bytes."""

    name: str
    refusal: Refusal
    says: str
    hint: str
    make: Callable[[bytes], bytes]


def patched(at: int, value: bytes) -> Callable[[bytes], bytes]:
    """Replace bytes of a good library."""
    return lambda good: good[:at] + value + good[at + len(value) :]


def segments_end(library: bytes) -> int:
    """Where the last loaded segment of an ELF file ends."""
    offset, size, count = (
        struct.unpack_from(f, library, at)[0] for f, at in (("<Q", 32), ("<H", 54), ("<H", 56))
    )
    ends = []
    for i in range(count):
        kind, _, start, _, _, length = struct.unpack_from("<IIQQQQ", library, offset + i * size)
        if kind in {1, 2}:
            ends.append(start + length)
    return max(ends)


_NOT = Refusal.NOT_A_LIBRARY
_FOREIGN = Refusal.WRONG_ARCHITECTURE
_DAMAGED = ("is a damaged ELF file", "build or copy it again")
_OTHER = ("is not a shared library", "libpath has to name the compiled plugin")

FILES: list[FileCase] = [
    FileCase("a text file", _NOT, *_OTHER, lambda _: b"#include <slipstream.h>\n"),
    FileCase("an empty file", _NOT, "is an empty file", "build it again", lambda _: b""),
    FileCase("one byte", _NOT, *_OTHER, lambda _: b"\x7f"),
    FileCase("a magic number", _NOT, *_DAMAGED, lambda _: b"\x7fELF"),
    FileCase("an ELF identification", _NOT, *_DAMAGED, lambda good: good[:16]),
    FileCase("an ELF header", _NOT, *_DAMAGED, lambda good: good[:64]),
    FileCase("zeros", _NOT, *_OTHER, lambda _: bytes(4096)),
    FileCase("a damaged header size", _NOT, *_DAMAGED, patched(54, b"\x07\x00")),
    FileCase("no program headers", _NOT, *_DAMAGED, patched(56, b"\x00\x00")),
    FileCase("65535 program headers", _NOT, *_DAMAGED, patched(56, b"\xff\xff")),
    FileCase("program headers beyond", _NOT, *_DAMAGED, patched(32, b"\xff" * 8)),
    FileCase("a core dump", _NOT, *_DAMAGED, patched(16, b"\x04\x00")),
    FileCase("another machine", _FOREIGN, "AArch64 (machine 183", "x86-64", patched(18, b"\xb7\0")),
    FileCase("PowerPC", _FOREIGN, "PowerPC 64 (machine 21, 64", "x86-64", patched(18, b"\x15\0")),
    FileCase("machine 4660", _FOREIGN, "an unknown machine", "x86-64", patched(18, b"\x34\x12")),
    FileCase("32 bit", _FOREIGN, "machine 62, 32 bit", "x86-64", patched(4, b"\x01")),
    FileCase("big endian", _FOREIGN, "machine 15872", "x86-64", patched(5, b"\x02")),
    FileCase(
        "a macOS library",
        _NOT,
        "is a macOS library (Mach-O)",
        "use the plugin's build for Linux",
        lambda _: b"\xcf\xfa\xed\xfe" + bytes(1000),
    ),
    FileCase(
        "a Windows library",
        _NOT,
        "is a Windows library (PE)",
        "use the plugin's build for Linux",
        lambda _: b"MZ" + bytes(1000),
    ),
    FileCase(
        "a linker script",
        _NOT,
        *_OTHER,
        lambda _: b"/* GNU ld script */\nINPUT(libplugin.so.1)\n",
    ),
    FileCase(
        "a static library",
        _NOT,
        "is a static library (.a)",
        "link it as a shared library",
        lambda _: b"!<arch>\n" + bytes(100),
    ),
]


def write(folder: Path, name: str, content: bytes) -> Path:
    """Write a library file."""
    path = folder / f"{name}.so"
    path.write_bytes(content)
    return path
