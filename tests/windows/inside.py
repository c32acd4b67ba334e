"""What the tests do under Windows: each function is one, and says in a line what came of it.

python inside.py FOLDER CYCLES    libraries lie there, and stream.jsonl
"""

from __future__ import annotations

import ctypes
import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from slipstream import Block, PluginManager, SlipstreamError
from slipstream._native import ffi, lib
from slipstream.config import load_config
from slipstream.library import check_library_path
from support.inside_wine import command, lines, said, tell

HERE = Path(sys.argv[1])
STREAM = HERE / "stream.jsonl"
CYCLES = int(sys.argv[2])


def what_the_core_asks_for_works() -> object:
    trial, found, number = ffi.new("ss_os_trial *"), {}, 0
    while lib.ss_os_try(number, trial):
        found[ffi.string(trial.name).decode()] = bool(trial.works)
        number += 1
    return found


class Region(ctypes.Structure):
    """MEMORY_BASIC_INFORMATION."""

    _fields_ = (
        ("base", ctypes.c_uint64),
        ("allocation", ctypes.c_uint64),
        ("rights", ctypes.c_uint64),
        ("size", ctypes.c_uint64),
        ("state", ctypes.c_uint32),
        ("now", ctypes.c_uint32),
        ("kind", ctypes.c_uint64),
    )


class ThreadEntry(ctypes.Structure):
    """THREADENTRY32."""

    _fields_ = (
        ("size", ctypes.c_uint32),
        ("usage", ctypes.c_uint32),
        ("thread", ctypes.c_uint32),
        ("process", ctypes.c_uint32),
        ("rest", ctypes.c_uint32 * 3),
    )


KERNEL = ctypes.WinDLL("kernel32")
KERNEL.CreateToolhelp32Snapshot.restype = ctypes.c_void_p
MAPPED, IMAGE = 0x40000, 0x1000000
THREADS = 4
HANDLES = 0x4000


def mappings() -> int:
    """How many files and libraries are mapped, and other memory that is shared."""
    region, at, found = Region(), 0, set()
    while KERNEL.VirtualQuery(ctypes.c_void_p(at), ctypes.byref(region), ctypes.sizeof(region)):
        if region.kind & 0xFFFFFFFF in {MAPPED, IMAGE}:
            found.add(region.allocation)
        at = region.base + region.size
    return len(found)


def threads() -> int:
    """How many threads this process has, Python's and others."""
    snapshot = ctypes.c_void_p(KERNEL.CreateToolhelp32Snapshot(THREADS, 0))
    entry, own, count = ThreadEntry(size=ctypes.sizeof(ThreadEntry)), os.getpid(), 0
    more = KERNEL.Thread32First(snapshot, ctypes.byref(entry))
    while more:
        count += entry.process == own
        more = KERNEL.Thread32Next(snapshot, ctypes.byref(entry))
    KERNEL.CloseHandle(snapshot)
    return count


def handles() -> int:
    """How many handles are open, by asking for each: wine 8 does not count them."""
    flags = ctypes.c_uint32()
    return sum(
        bool(KERNEL.GetHandleInformation(ctypes.c_void_p(value), ctypes.byref(flags)))
        for value in range(4, HANDLES, 4)
    )


def left() -> dict[str, int]:
    return {
        "handles": handles(),
        "threads": threads(),
        "mappings": mappings(),
        "files": len(list(HERE.rglob("*slipstream-copy*"))),
    }


def unmapped() -> object:
    """Load, stream, reload, unload, again and again: what is left."""

    def cycle(mode: str) -> None:
        manager.load_plugin({"libpath": str(HERE / "digest.dll"), "mode": mode, "name": "one"})
        manager.broadcast(Block(b"a block", 1))
        manager.reload_plugin("one")
        manager.broadcast(Block(b"another", 2))
        manager.unload_plugin("one")

    said.clear()
    with PluginManager(log_level="info") as manager:
        for mode in ("inline", "thread"):
            cycle(mode)
        before = left()
        for number in range(CYCLES):
            cycle(("inline", "thread")[number % 2])
        after = left()
        manager.load_plugin({"libpath": str(HERE / "digest.dll"), "mode": "thread"})
        loaded = left()
    told = lines("stays mapped", "misbehaving")
    return {"before": before, "after": after, "loaded": loaded, "stays": told}


def stays() -> object:
    found = {}
    for name in ("pinned", "keeps"):
        said.clear()
        with PluginManager(log_level="debug") as manager:
            manager.load_plugin({"libpath": str(HERE / f"{name}.dll"), "mode": "inline"})
            manager.broadcast(Block(b"a block", 1))
            try:
                manager.unload_plugin(name)
            except SlipstreamError as error:
                said.append(f"{error}")
        found[name] = said[:]
    return found


def refusals() -> object:
    found = {}
    for name in (
        "text.dll",
        "empty.dll",
        "linux.dll",
        "cut.dll",
        "needy.dll",
        "none.dll",
        "arm.dll",
    ):
        with PluginManager() as manager:
            try:
                manager.load_plugin({"libpath": str(HERE / name), "mode": "inline"})
                found[name] = "loaded"
            except SlipstreamError as error:
                found[name] = f"{error}"
    try:
        load_config(HERE / "process.json5")
    except SlipstreamError as error:
        found["process"] = f"{error}"
    with PluginManager() as manager:
        try:
            manager.load_plugin({"libpath": str(HERE / "digest.dll"), "mode": "process"})
        except SlipstreamError as error:
            found["process in a call"] = f"{error}"
    return found


def paths() -> object:
    found = {}
    for name, path in (("own", HERE / "digest.dll"), ("open", HERE / "open" / "digest.dll")):
        try:
            check_library_path(path)
            found[name] = "safe"
        except SlipstreamError as error:
            found[name] = f"{error}"
    return found


def commands() -> object:
    kept, converted = HERE / "kept.capture", HERE / "back.jsonl"
    return {
        "convert": command("convert", str(STREAM), str(kept))[0],
        "back": command("convert", str(HERE / "linux.capture"), str(converted))[0],
        "show": command("show", str(kept)),
        "doctor": command("doctor"),
        "inspect": command("inspect", str(HERE / "digest.dll")),
        "check": command("check", "--quick", str(HERE / "digest.dll")),
        "check all": command("check", "--json", str(HERE / "digest.dll")),
        "check a Linux library": command("check", "--quick", str(HERE / "linux.so")),
        "check a wrong one": command("check", "--quick", str(HERE / "none.dll")),
        "fuzz": command("check", "--fuzz", str(HERE / "digest.dll")),
        "bench": command("bench", str(HERE / "digest.dll"), "--count", "300", "--rounds", "1"),
        "bench process": command("bench", str(HERE / "digest.dll"), "--mode", "process"),
        "new": command("new", "counter", "--folder", str(HERE / "counter")),
        "doctor FILE": command("doctor", str(HERE / "digest.dll")),
        "run": command(
            "run", "--no-progress", "--slipstream-config", str(HERE / "plain.json5"), str(STREAM)
        ),
    }


if __name__ == "__main__":
    tell(what_the_core_asks_for_works, paths, unmapped, stays, refusals, commands)
