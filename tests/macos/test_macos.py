"""The core and a plugin for macOS, arm64 and x86-64: compiled and linked, and looked at.

Nothing of it runs here. `make test-macos` builds it, with SLIPSTREAM_LONG; elsewhere it is skipped.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import lief
import pytest

from slipstream import _native
from slipstream.library import read_file

ROOT = Path(__file__).resolve().parents[2]
SYSTEM = "/usr/lib/libSystem.B.dylib"
# Target of tools/cross.py, zig's name, processor and oldest version for lief, machine in words.
TARGETS = {
    "macos-arm64": ("aarch64-macos.11.0", "ARM64", [11, 0, 0], "AArch64"),
    "macos-x86_64": ("x86_64-macos.10.15", "X86_64", [10, 15, 0], "x86-64"),
}

pytestmark = [
    pytest.mark.no_asan,
    pytest.mark.skipif(
        not os.environ.get("SLIPSTREAM_LONG"), reason="builds for minutes: make test-macos"
    ),
]


@pytest.fixture(scope="module", params=TARGETS)
def target(request) -> str:
    return request.param


@pytest.fixture(scope="module")
def stage(target) -> Path:
    """The package as it lies in a wheel; its build says whatever is a warning to zig or CMake."""
    command = [sys.executable, str(ROOT / "tools" / "cross.py"), target]
    done = subprocess.run(command, capture_output=True, text=True, timeout=850, check=False)
    assert done.returncode == 0, done.stderr
    assert "warning" not in done.stderr.lower(), done.stderr
    return Path(done.stdout.strip().removeprefix(f"{target}: "))


def parsed(library: Path) -> lief.MachO.Binary:
    binary = lief.parse(str(library))  # a file for several machines would have to be kept, too
    assert isinstance(binary, lief.MachO.Binary)
    return binary


def exported(binary: lief.MachO.Binary) -> set[str]:
    names = {str(symbol.name) for symbol in binary.exported_symbols}
    return names - {"__mh_dylib_header", "___dso_handle"}  # the linker's own


def imported(binary: lief.MachO.Binary) -> dict[str, str]:
    """The library that each symbol is taken from; "" for whatever brings it when it is loaded."""
    found, own = {}, exported(binary)
    for symbol in binary.imported_symbols:
        if symbol.name in own:  # zig lists its constants in both
            continue
        library = symbol.binding_info.library if symbol.has_binding_info else None
        found[str(symbol.name)] = "" if library is None else str(library.name)
    return found


def test_the_core_is_for_this_machine_and_old_systems(target, stage) -> None:
    _, processor, oldest, machine = TARGETS[target]
    for name in ("_core.abi3.so", "slipstream-noop.dylib"):
        binary = parsed(stage / "slipstream" / name)
        assert processor in str(binary.header.cpu_type)
        minimum = binary.build_version.minos if binary.has_build_version else None
        assert minimum == oldest, name
        assert read_file(stage / "slipstream" / name).machine == machine
        # Loaded by path, so its own name is taken relative to whoever loads it.
        own = [c for c in binary.commands if c.command == lief.MachO.LoadCommand.TYPE.ID_DYLIB]
        assert [str(command.name) for command in own] == [f"@rpath/{name}"]
        needed = [str(lib.name) for lib in binary.libraries if lib.command != own[0].command]
        assert needed == [SYSTEM], name


def test_the_core_exports_nothing_but_its_module(stage) -> None:
    assert exported(parsed(stage / "slipstream" / "_core.abi3.so")) == {"_PyInit__core"}


def test_what_the_core_takes_is_the_systems_or_pythons(stage) -> None:
    """`-undefined dynamic_lookup` lets the linker take any name: each of them has to be Python's."""
    taken = imported(parsed(stage / "slipstream" / "_core.abi3.so"))
    assert {name for name, library in taken.items() if library == SYSTEM} >= {"_dlopen", "_malloc"}
    anywhere = {name for name, library in taken.items() if library != SYSTEM}
    here = lief.ELF.parse(_native.MODULE_FILE)
    missing_here = (str(symbol.name) for symbol in here.dynamic_symbols if symbol.shndx == 0)
    pythons = {f"_{name}" for name in missing_here if re.match("_?Py", name)}
    assert anywhere <= pythons, anywhere - pythons


def test_a_plugin_is_linked_as_for_linux(target, tmp_path) -> None:
    ziglang = pytest.importorskip("ziglang")
    library = tmp_path / "minimal.dylib"
    command = [
        *(str(Path(ziglang.__file__).parent / "zig"), "cc", "-target", TARGETS[target][0]),
        *("-std=c11", "-Wall", "-Wextra", "-Werror", "-fvisibility=hidden", "-shared"),
        *("-I", str(ROOT / "include"), "-o", str(library)),
        str(ROOT / "examples" / "minimal" / "minimal.c"),
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    binary = parsed(library)
    assert exported(binary) == {"_slipstream_create_plugin_v1", "_slipstream_info_v1"}
    assert set(imported(binary).values()) <= {SYSTEM}
    file = read_file(library)
    assert (file.format, file.machine) == ("Mach-O", TARGETS[target][3])
    info = file.info()
    assert info is not None
    assert info.name == "minimal"
