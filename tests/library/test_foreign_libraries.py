"""Libraries of other systems and machines: what their files say is read, and they are not loaded."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from slipstream import PluginInfo, PluginLoadError, PluginManager, Refusal
from slipstream.library import LibraryFile, judge, read_file
from support.foreign_libraries import (
    ARM64,
    CODE,
    WRITABLE,
    X86_64,
    Export,
    fat,
    macho,
    pe,
    plugin,
)

ROOT = Path(__file__).resolve().parents[2]
INFO = b'SLIPINFO1\n{"name": "far", "version": "2", "abi": 1}\0'
FORMATS = {
    "pe": (pe, 64),
    "pe32": (pe, 32),
    "macho": (macho, 64),
    "macho32": (macho, 32),
}


@pytest.fixture(params=FORMATS)
def make(request: pytest.FixtureRequest, tmp_path: Path):
    writer, bits = FORMATS[request.param]

    def make(exports: dict[str, Export], padding: int = 0) -> LibraryFile:
        path = tmp_path / "library.bin"
        path.write_bytes(writer(exports, bits=bits, padding=padding))
        return read_file(path)

    return make


def test_what_it_says_is_read(make) -> None:
    others = {f"other_{n}": Export(CODE, b"\xc3") for n in range(90)}
    file = make({**others, **plugin(INFO)})
    assert file.has_constructor
    assert file.refusal is None
    assert file.info() == PluginInfo(name="far", version="2")
    assert file.foreign is not None
    assert file.foreign.refusal is Refusal.NOT_A_LIBRARY
    with PluginManager(insecure_paths=True) as host, pytest.raises(PluginLoadError) as caught:
        host.load_plugin({"libpath": str(file.path), "mode": "inline"})
    assert caught.value.message == file.foreign.message
    assert caught.value.message.endswith(("(PE)", "(Mach-O)"))


def test_without_an_info(make) -> None:
    assert make(plugin(None)).info() is None


@pytest.mark.parametrize(
    ("exports", "refusal", "says"),
    [
        ({}, Refusal.NO_CONSTRUCTOR, "does not export slipstream_create_plugin_v1"),
        ({"slipstream_create_plugin_v1": Export(WRITABLE, b"x")},
         Refusal.NO_CONSTRUCTOR, "but not as a function"),
        ({"slipstream_create_plugin_v3": Export(CODE, b"x")},
         Refusal.WRONG_ABI_MAJOR, "is a plugin for ABI major 3"),
        ({"_create_plugin": Export(CODE, b"x")}, Refusal.RUST_ABI_PLUGIN, "Rust-ABI plugin"),
        (plugin(INFO, CODE), Refusal.INFO_MISPLACED, "is exported, but not as data"),
        (plugin(INFO, WRITABLE), Refusal.INFO_MISPLACED, "can be written to"),
        (plugin(b"SLIPINFO2\n{}\0"), Refusal.INFO_UNREADABLE, "does not begin with"),
        (plugin(INFO[:-1] + b" " * 66_000), Refusal.INFO_UNREADABLE, "is longer than"),
        (plugin(INFO[:-1]), Refusal.INFO_UNREADABLE, "has no NUL at its end"),
        ({**plugin(None), "slipstream_info_v1": Export(CODE, INFO, at=0x7000000)},
         Refusal.INFO_MISPLACED, "is outside of what the file holds"),
        (plugin(INFO.replace(b'"abi": 1', b'"abi": 2')), Refusal.WRONG_ABI_MAJOR, "abi of its"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_told(make, exports, refusal, says) -> None:
    with pytest.raises(PluginLoadError) as caught:
        make(exports).info()
    assert caught.value.refusal is refusal, str(caught.value)
    assert says in caught.value.message


@pytest.mark.parametrize("wide", [False, True])
def test_a_file_for_several_machines(tmp_path: Path, wide) -> None:
    path = tmp_path / "fat.dylib"
    slices = {
        ARM64["macho"]: macho(plugin(INFO.replace(b"far", b"arm")), cpu=ARM64["macho"]),
        X86_64["macho"]: macho(plugin(INFO.replace(b"far", b"x86"))),
    }
    path.write_bytes(fat(slices, wide=wide))
    file = read_file(path)
    info = file.info()
    assert info is not None
    assert (file.machines, file.machine, info.name) in {(2, "x86-64", "x86"), (2, "AArch64", "arm")}
    path.write_bytes(fat({0x12: macho(plugin(INFO), cpu=0x12), **slices}, wide=wide)[:0x2000])
    assert read_file(path).refusal is not None


@pytest.mark.parametrize(("commands", "is_read"), [(4096, True), (4097, False)])
def test_so_many_commands_are_read(tmp_path: Path, commands, is_read) -> None:
    path = tmp_path / "many.dylib"
    path.write_bytes(macho(plugin(INFO), commands_more=commands - 4))
    assert (read_file(path).refusal is None) is is_read


@pytest.mark.parametrize(("sections", "is_read"), [(96, True), (97, False)])
def test_so_many_sections_are_read(tmp_path: Path, sections, is_read) -> None:
    path = tmp_path / "many.dll"
    path.write_bytes(pe(plugin(INFO), sections_more=sections - 5))
    assert (read_file(path).refusal is None) is is_read


@pytest.mark.parametrize(("slices", "is_read"), [(40, True), (41, False)])
def test_so_many_machines_are_read(tmp_path: Path, slices, is_read) -> None:
    path = tmp_path / "many.dylib"
    own = {X86_64["macho"]: macho(plugin(INFO)), ARM64["macho"]: macho(plugin(INFO))}
    others = {0x40 + n: macho(plugin(INFO), cpu=0x40 + n) for n in range(slices - len(own))}
    path.write_bytes(fat(own | others))
    assert (read_file(path).refusal is None) is is_read


def test_a_class_of_java_is_no_library(tmp_path: Path) -> None:
    path = tmp_path / "A.class"
    path.write_bytes(b"\xca\xfe\xba\xbe\0\0\0\x41" + bytes(99))
    file = read_file(path)
    assert file.refusal is not None
    assert "ends too early, or contradicts itself" in file.refusal.message


@pytest.mark.parametrize("padding", [50_000_000])
def test_a_large_one_is_read(make, padding) -> None:
    file = make(plugin(INFO), padding)
    assert file.path.stat().st_size > padding
    assert file.info() == PluginInfo(name="far", version="2")


def test_a_large_library_is_judged(compile_plugin) -> None:
    source = (
        "#include <slipstream.h>\n"
        'SLIPSTREAM_INFO({"name": "large", "version": "1", "abi": 1});\n'
        "const slipstream_plugin *slipstream_create_plugin_v1(const slipstream_host *h)"
        " { (void)h; return 0; }\n"
        '__asm__(".section .rodata\\n.fill 50000000, 1, 7\\n.text\\n");\n'
    )
    library = compile_plugin(source, name="large")
    assert library.stat().st_size > 50_000_000
    assert judge(library, library) == PluginInfo(name="large", version="1")


TARGETS = ["x86_64-windows-gnu", "aarch64-windows-gnu", "x86_64-macos", "aarch64-macos"]


SOURCE = """
#include <slipstream.h>
SLIPSTREAM_INFO({"name": "minimal", "version": "1.0.0", "abi": 1, "flags": ["PROMPT", "BATCH"]});
const slipstream_plugin *SLIPSTREAM_CALL slipstream_create_plugin_v1(const slipstream_host *host) {
    return (void)host, NULL;
}
int DllMainCRTStartup(void *instance, unsigned reason, void *reserved);
int DllMainCRTStartup(void *instance, unsigned reason, void *reserved) {
    return (void)instance, (void)reserved, reason < 9;
}
"""


@pytest.mark.parametrize("target", TARGETS)
def test_what_real_linkers_make(tmp_path: Path, target) -> None:
    """With zig, which brings the linkers of both systems; without their C libraries."""
    zig = [sys.executable, "-m", "ziglang"]
    if subprocess.run([*zig, "version"], capture_output=True, check=False).returncode:
        pytest.skip("no zig: pip install ziglang")
    library, source = tmp_path / "minimal.bin", tmp_path / "minimal.c"
    source.write_text(SOURCE)
    flags = ["-std=c11", "-shared", "-fvisibility=hidden", "-ffreestanding", "-nostdlib"]
    subprocess.run(
        [*zig, "cc", "-target", target, *flags, "-I", ROOT / "include", "-o", library, source],
        check=True,
        timeout=600,
        env={**os.environ, "ZIG_LOCAL_CACHE_DIR": str(tmp_path / "cache")},
    )
    file = read_file(library)
    info = file.info()
    assert info is not None
    assert (info.name, info.flags) == ("minimal", ("PROMPT", "BATCH"))
    assert file.machine == ("AArch64" if target.startswith("aarch64") else "x86-64")
    assert file.format == ("Mach-O" if target.endswith("macos") else "PE")
