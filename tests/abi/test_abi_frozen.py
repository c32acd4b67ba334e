"""The header against the released ones: old plugins and old hosts keep working.

slipstream-1.0.h is the header as it was released; after the release it is never edited. "next" below is the
header after a later minor version: every table has one more field at its end.
"""

from __future__ import annotations

import functools
import itertools
import re
import signal
import struct
from pathlib import Path

import pytest
from cffi import FFI

from abi_tools import (
    COMPILERS,
    FROZEN,
    HEADER,
    HERE,
    WARNINGS,
    cdef_part,
    code_of,
    declarations,
    header_with,
    run,
    succeed,
)
from support.toolbox import require

VERSIONS = ("frozen", "current", "next")
# Every table with the field that the next version adds to it.
FUNCTION = "int32_t(SLIPSTREAM_CALL *added)(void *ctx);"
GROWN = {
    "slipstream_delivery": "uint64_t added;",
    "slipstream_host": FUNCTION,
    "slipstream_plugin": FUNCTION,
    "slipstream_config_v1": FUNCTION,
    "slipstream_metrics_v1": FUNCTION,
    "slipstream_payload_v1": FUNCTION,
}


@functools.cache
def types(header: Path) -> FFI:
    ffi = FFI()
    ffi.cdef(declarations(header))
    return ffi


def fields(ffi: FFI, table: str) -> list[tuple[str, int, str]]:
    """Name, offset and full type of every field."""
    return [
        (name, ffi.offsetof(table, name), str(info.type.cname))
        for name, info in ffi.typeof(table).fields
    ]


def macros(header: Path) -> dict[str, str]:
    code = re.sub(r"/\*.*?\*/", "", code_of(header), flags=re.DOTALL)
    return dict(re.findall(r"^#define (SLIPSTREAM_\w+) +(\S+) *$", code, re.MULTILINE))


def differences(old: Path, new: Path) -> list[str]:
    """What a new header takes away from an old one."""
    found = []
    before, after = types(old), types(new)
    for table in before.list_types()[0]:
        if table not in after.list_types()[0]:
            found.append(f"{table} is gone")
            continue
        was, now = fields(before, table), fields(after, table)
        if now[: len(was)] != was:
            found.append(f"{table} is no longer how it began")
    later = macros(new)
    for name, value in macros(old).items():
        if name != "SLIPSTREAM_ABI_MINOR" and later.get(name) != value:
            found.append(f"{name} was {value}, is {later.get(name)}")
    constructor = re.compile(r"SLIPSTREAM_EXPORT const [^;]*\);")
    if constructor.findall(old.read_text()) != constructor.findall(new.read_text()):
        found.append("the constructor's declaration")
    return found


def test_header_only_grew() -> None:
    assert differences(FROZEN, HEADER) == []


def test_until_the_next_minor_nothing_changes() -> None:
    if macros(HEADER)["SLIPSTREAM_ABI_MINOR"] == macros(FROZEN)["SLIPSTREAM_ABI_MINOR"]:
        assert cdef_part(HEADER).split() == cdef_part(FROZEN).split()


@pytest.mark.parametrize(
    ("edit", "complaint"),
    [
        (("SLIPSTREAM_PANIC -17", "SLIPSTREAM_PANIC -18"), "SLIPSTREAM_PANIC was -17"),
        (("#define SLIPSTREAM_LOG_MAX 65536", ""), "SLIPSTREAM_LOG_MAX was 65536, is None"),
        (('slipstream.config/1"', 'slipstream.config/2"'), "SLIPSTREAM_EXT_CONFIG was"),
        (("    uint32_t attempt;\n", ""), "slipstream_delivery is no longer"),
        (("    uint32_t attempt;", "    int32_t attempt;"), "slipstream_delivery is no longer"),
        (
            ("(void *ctx, uint64_t ordinal);", "(void *ctx, uint32_t ordinal);"),
            "slipstream_host is no longer",
        ),
        (("slipstream_create_plugin_v1(const", "slipstream_create_plugin_v1(int x, const"), "the"),
    ],
)
def test_a_break_would_be_seen(tmp_path: Path, edit: tuple[str, str], complaint: str) -> None:
    text = HEADER.read_text()
    assert edit[0] in text
    broken = tmp_path / "slipstream.h"
    broken.write_text(text.replace(*edit))
    found = differences(FROZEN, broken)
    assert any(line.startswith(complaint) for line in found), found


def include_folder(version: str, folder: Path) -> Path:
    """A folder that holds one version of the header as slipstream.h."""
    if version != "next":
        source = FROZEN if version == "frozen" else HEADER
        return header_with(folder / version, source=source)
    minor = int(macros(HEADER)["SLIPSTREAM_ABI_MINOR"]) + 1
    edits = [(f"#define SLIPSTREAM_ABI_MINOR {minor - 1}", f"#define SLIPSTREAM_ABI_MINOR {minor}")]
    for table, field in GROWN.items():
        added = f"#if SLIPSTREAM_TARGET_MINOR >= {minor}\n    {field}\n#endif\n}} {table};"
        edits.append((f"}} {table};", added))
        edits.append((f"sizeof({table}) == ", f"sizeof({table}) >= "))
    return header_with(folder / version, *edits)


@functools.cache
def built(compiler: str, folder: Path) -> dict[tuple[str, str], Path]:
    """The host and the plugin, each compiled with every version, and careless plugins.

    "later" is the next header without a word about the target: as a plugin it is a 1.0 one.
    """
    objects = {}
    for version in (*VERSIONS, "later"):
        include = include_folder("next" if version == "later" else version, folder)
        for part in ("host", "plugin", "careless"):
            source = HERE / f"compat_{'host' if part == 'host' else 'plugin'}.c"
            target = folder / f"{part}-{version}.o"
            flags = ["-std=c11", "-g", "-I", str(include), *WARNINGS]
            flags += ["-DADDED", "-DSLIPSTREAM_TARGET_MINOR=1"] if version == "next" else []
            flags += ["-DSLIPSTREAM_HOST"] if part == "host" else []
            flags += ["-DCARELESS"] if part == "careless" else []
            succeed((compiler, *flags, "-c", source, "-o", target))
            objects[part, version] = target
    return objects


@pytest.fixture(scope="module")
def workshop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("compat")


def link(compiler: str, folder: Path, host: str, part: str, plugin: str) -> Path:
    require(compiler)
    place = folder / compiler
    place.mkdir(exist_ok=True)
    objects = built(compiler, place)
    program = place / f"{host}-{part}-{plugin}"
    succeed((compiler, objects["host", host], objects[part, plugin], "-o", program))
    return program


@pytest.mark.parametrize(("host", "plugin"), [*itertools.product(VERSIONS, (*VERSIONS, "later"))])
@pytest.mark.parametrize("compiler", COMPILERS)
def test_any_host_with_any_plugin(compiler: str, host: str, plugin: str, workshop: Path) -> None:
    """Every table lies flush against an unreadable page and holds its own version's size.

    The functions that only the next version has are called exactly where both sides
    have them.
    """
    program = link(compiler, workshop, host, "plugin", plugin)
    both = host == plugin == "next"
    assert succeed((program,)).decode().split() == [
        f"host-used-plugin-added={int(both)}",
        f"host-used-payload-added={int(both)}",
        f"plugin-used-host-added={int(both)}",
        f"plugin-used-config-added={int(both)}",
        f"plugin-used-metrics-added={int(both)}",
        f"plugin-saw-delivery-added={int(both)}",
    ]


@pytest.mark.parametrize("compiler", COMPILERS)
def test_the_target_sizes_the_table_and_asks_for_its_host(compiler: str, workshop: Path) -> None:
    """A newer header alone changes nothing; who asks for its minor gets size and number."""
    require(compiler)
    include = include_folder("next", workshop / "target")
    source = (
        "#include <slipstream.h>\n#include <stdio.h>\n"
        "int main(void) { const slipstream_plugin p = {SLIPSTREAM_PLUGIN_HEAD};\n"
        'printf("%d %u %u\\n", (int)(p.struct_size - SLIPSTREAM_PLUGIN_SIZE_1_0),\n'
        "       p.abi_minor, p.min_host_minor); }\n"
    )
    program = workshop / f"target-{compiler}"
    seen = {}
    for flag in ("-DNOTHING", "-DSLIPSTREAM_TARGET_MINOR=1", "-DSLIPSTREAM_HOST"):
        command = (compiler, "-std=c11", "-w", "-x", "c", "-", flag, "-I", include, "-o", program)
        succeed(command, source.encode())
        seen[flag] = succeed((program,)).split()
    pointer = b"%d" % struct.calcsize("P")
    assert seen == {
        "-DNOTHING": [b"0", b"1", b"0"],
        "-DSLIPSTREAM_TARGET_MINOR=1": [pointer, b"1", b"1"],
        "-DSLIPSTREAM_HOST": [pointer, b"1", b"1"],
    }
    beyond = (compiler, "-std=c11", "-fsyntax-only", "-DSLIPSTREAM_TARGET_MINOR=2", "-I", include)
    assert run((*beyond, "-x", "c", "-"), source.encode()).returncode != 0


def test_the_build_parses_what_a_later_minor_adds(tmp_path: Path) -> None:
    grown = types(include_folder("next", tmp_path) / "slipstream.h")
    assert [name for name, *_ in fields(grown, "slipstream_plugin")][-1] == "added"


@pytest.mark.parametrize("host", ["frozen", "current"])
def test_without_the_size_check_the_guard_page_is_hit(host: str, workshop: Path) -> None:
    program = link("gcc", workshop, host, "careless", "next")
    assert run((program,)).returncode == -signal.SIGSEGV
    assert run((link("gcc", workshop, "next", "careless", "next"),)).returncode == 0
