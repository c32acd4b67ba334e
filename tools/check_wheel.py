"""Check a wheel: its name, what it holds, and that it works outside of this checkout.

python tools/check_wheel.py dist/slipstream-....whl

Its core has to be for the system and machine of its name, export nothing but what Python asks for,
and need nothing but what every such system has. Where the wheel is for this machine, it is
installed into a new environment in a folder for temporary files, where the header's own example is
compiled against the installed header and loaded.
"""

from __future__ import annotations

import base64
import hashlib
import os
import re
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

import lief

ROOT = Path(__file__).resolve().parents[1]
HEADER = "slipstream/include/slipstream.h"
WORKER = "slipstream/slipstream-worker"
NOOP = "slipstream/slipstream-noop.so"
CORE = "slipstream/_core.abi3.so"
CORE_OF_WINDOWS = "slipstream/_core.pyd"
TYPES = {"slipstream/py.typed", "slipstream/_core.pyi", "slipstream/_native/cdef.pyi"}
SHARED = {
    "slipstream/share/pkgconfig/slipstream.pc",
    "slipstream/share/cmake/slipstream/slipstream-config.cmake",
}
RUST = {
    f"slipstream/sdk/rust/{path.relative_to(ROOT / 'sdk' / 'rust')}"
    for path in (ROOT / "sdk" / "rust" / "slipstream-plugin").rglob("*")
    if path.name == "Cargo.toml" or path.suffix == ".rs"
}
REQUIRED = SHARED | RUST | {HEADER, "slipstream/include/slipstream.hpp"} | TYPES
PROGRAMS = {WORKER, "slipstream/slipstream-check"}  # only Linux has mode process
# What a core may need, by the start of its wheel's platform; for Linux with the newest version of
# the C library's symbols.
NEEDED = {
    "win": r"python3|kernel32|advapi32|bcrypt|api-ms-win-(core-synch|crt)-[\w-]+",
    "macosx": r"@rpath/_core\.abi3\.so|/usr/lib/libSystem\.B\.dylib",
    "musllinux": r"libc\.so",
    "manylinux": r"lib(c|m|dl|pthread|rt)\.so\.\d|ld-linux-[\w-]+\.so\.\d",
    "linux": r"lib(c|m|dl|pthread|rt|gcc_s)\.so\.\d|ld-linux-[\w-]+\.so\.\d",
}
GLIBC = (2, 28)  # that of manylinux_2_28
MACHINES = {"x86_64": "X86_64", "amd64": "AMD64", "aarch64": "AARCH64", "arm64": "ARM64"}

HOST = """
import pathlib, subprocess, sys
import slipstream
from slipstream import Block, EventKind, PluginManager

assert pathlib.Path(slipstream.__file__).is_relative_to(sys.prefix), slipstream.__file__
include = pathlib.Path(slipstream.get_include())
assert include.is_relative_to(sys.prefix), include
subprocess.run(["cc", "-std=c11", "-shared", "-fPIC", "-fvisibility=hidden", "-I", include,
                "-o", "minimal.so", "minimal.c"], check=True)
with PluginManager() as manager:
    plugin = manager.load_plugin({"libpath": "minimal.so", "mode": "inline"})
    assert manager.has_subscribers(EventKind.BLOCK)
    manager.broadcast(Block(b"a block", 1))
    assert plugin.counters.delivered == 1, plugin.counters
print("works", plugin.version)
"""


def check_contents(wheel: Path) -> list[str]:
    """Return what is wrong with a wheel's name and contents; an empty list if nothing is."""
    problems = []
    if not re.fullmatch(r"slipstream-[0-9.a-z]+-cp311-abi3-\w+\.whl", wheel.name):
        problems.append(f"{wheel.name} is no cp311-abi3 wheel")
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
        sources = {
            str(path.relative_to(ROOT / "src"))
            for path in (ROOT / "src").rglob("*")
            if path.is_file() and path.suffix not in {".pyc", ".so"}
        }
        is_linux = "linux_" in wheel.name
        core = CORE_OF_WINDOWS if "-win_" in wheel.name else CORE
        required = REQUIRED | sources | {core} | (PROGRAMS | {NOOP} if is_linux else set())
        problems += [f"{name} is missing" for name in sorted(required - names)]
        problems += [f"{name} is of no use there" for name in PROGRAMS & names if not is_linux]
        problems += _check_record(archive)
        platform = wheel.stem.split("-")[-1]
        for name in sorted({core, *PROGRAMS} & names):
            problems += _check_binary(name, platform, archive.read(name))
        allowed = re.compile(r"slipstream(_pytest)?/|slipstream-[^/]+\.dist-info/")
        problems += [f"{name} does not belong there" for name in names if not allowed.match(name)]
        if HEADER in names and archive.read(HEADER) != (ROOT / "include/slipstream.h").read_bytes():
            problems.append(f"{HEADER} is not the one in include/")
        if WORKER in names and not archive.getinfo(WORKER).external_attr >> 16 & 0o111:
            problems.append(f"{WORKER} is not executable")
        for license_file in ("LICENSE", "NOTICE"):
            if not any(name.endswith(f"/licenses/{license_file}") for name in names):
                problems.append(f"{license_file} is missing")
    return problems


def _check_record(archive: zipfile.ZipFile) -> list[str]:
    """Compare what RECORD says with what is there."""
    (name,) = (name for name in archive.namelist() if name.endswith(".dist-info/RECORD"))
    listed = dict(line.split(",")[:2] for line in archive.read(name).decode().splitlines())
    listed.pop(name, None)
    found = {}
    for other in archive.namelist():
        if other != name:
            digest = hashlib.sha256(archive.read(other)).digest()
            found[other] = "sha256=" + base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
    return [f"{one} is not as RECORD has it" for one, _ in sorted(found.items() ^ listed.items())]


def _check_binary(name: str, platform: str, data: bytes) -> list[str]:
    """Return what is wrong with the core, or with a program, in a wheel for a platform."""
    what = name.partition("/")[2]
    binary = lief.parse(data)
    if binary is None:
        return [f"{what} is no library"]
    problems = []
    machine: object
    exported: list[str]
    needed: list[str]
    if isinstance(binary, lief.PE.Binary):
        table = binary.get_export()
        machine = binary.header.machine
        exported = [] if table is None else [str(e.name) for e in table.entries]
        needed = [re.sub(r"\.dll$", "", str(name).lower()) for name in binary.libraries]
    elif isinstance(binary, lief.MachO.Binary):
        machine = binary.header.cpu_type
        exported = [str(s.name).lstrip("_") for s in binary.exported_symbols]
        exported = [name for name in exported if name not in {"mh_dylib_header", "dso_handle"}]
        needed = [str(library.name) for library in binary.libraries]
    elif isinstance(binary, lief.ELF.Binary):
        machine = binary.header.machine_type
        exported = [str(s.name) for s in binary.exported_symbols]
        exported = [name for name in exported if name not in {"_init", "_fini"}]
        needed = [str(name) for name in binary.libraries]
        newest = max(_glibc_versions(binary), default=GLIBC)
        if platform.startswith("manylinux") and newest > GLIBC:
            problems.append(f"{what} needs glibc {newest}")
    (wanted,) = (value for key, value in MACHINES.items() if platform.endswith(key))
    if wanted not in str(machine):
        problems.append(f"{what} is for {machine}, its wheel's name says {platform}")
    # Programs export what is to stand before the C library's.
    if name not in PROGRAMS and [one for one in exported if not one.startswith("PyInit_")]:
        problems.append(f"{what} exports {exported}")
    may = re.compile(NEEDED[re.split(r"_", platform, maxsplit=1)[0]])
    return problems + [f"{what} needs {one}" for one in needed if not may.fullmatch(one)]


def _glibc_versions(binary: lief.ELF.Binary) -> list[tuple[int, ...]]:
    """Return the versions of glibc's symbols that it asks for."""
    versions = [
        str(version.name)
        for requirement in binary.symbols_version_requirement
        for version in requirement.get_auxiliary_symbols()
    ]
    return [tuple(map(int, name[6:].split("."))) for name in versions if name.startswith("GLIBC_2")]


def runs_here(wheel: Path) -> bool:
    """Say whether a wheel is for this machine and its C library."""
    return bool(re.search(rf"-(manylinux\w*|linux)_{os.uname().machine}\.whl$", wheel.name))


def check_installed(wheel: Path) -> None:
    """Install a wheel into a new environment and load a plugin there.

    Raises:
        subprocess.CalledProcessError: A step failed; its output was printed.
    """
    # Nothing of this process's environment may make the checkout importable.
    clean = {key: value for key, value in os.environ.items() if not key.startswith("PYTHON")}
    with tempfile.TemporaryDirectory(prefix="slipstream-wheel-") as name:
        folder = Path(name)
        python = str(folder / "venv" / "bin" / "python")
        example = (ROOT / "examples" / "minimal" / "minimal.c").read_bytes()
        (folder / "minimal.c").write_bytes(example)
        for command in (
            [sys.executable, "-m", "venv", str(folder / "venv")],
            [python, "-m", "pip", "install", "--quiet", str(wheel.resolve())],
            [python, "-c", HOST],
        ):
            subprocess.run(command, cwd=folder, env=clean, check=True, timeout=300)


def main() -> int:
    """Check the wheels that are named and return the exit code."""
    if len(sys.argv) == 1:
        print("usage: check_wheel.py WHEEL...", file=sys.stderr)
        return 2
    for wheel in map(Path, sys.argv[1:]):
        problems = check_contents(wheel)
        if problems:
            print(f"{wheel}:", *problems, sep="\n  ", file=sys.stderr)
            return 1
        if runs_here(wheel):
            check_installed(wheel)
            print(f"{wheel}: complete, and works in a new environment")
        else:
            print(f"{wheel}: complete; not run, for it is for another system")
    return 0


if __name__ == "__main__":
    sys.exit(main())
