"""The core for Windows x86-64 under wine, with a real CPython for Windows: modes inline and thread.

What that needs is downloaded and built once, into build/windows and build/cross; where something
of it is not to be had, this is skipped. `SLIPSTREAM_LONG=1` (as `make windows` has it) does more.
"""

from __future__ import annotations

import json
import logging
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from slipstream import PluginManager
from slipstream.streams import EventFile

ROOT = Path(__file__).resolve().parents[2]
HERE = ROOT / "tests" / "windows"
STREAM = ROOT / "examples" / "streams" / "mainnet_genesis.jsonl"
FLAGS = ["-O1", "-std=c11", "-fvisibility=hidden", "-shared", "-I", str(ROOT / "include")]
MISSING = 77

LONG = bool(os.environ.get("SLIPSTREAM_LONG"))
CYCLES = 200 if LONG else 20
HAS_WINE = any(map(shutil.which, ("wine64", "wine", "/usr/lib/wine/wine64")))

pytestmark = [
    pytest.mark.no_asan,
    pytest.mark.skipif(not HAS_WINE and not LONG, reason="no wine here: apt-get install wine64"),
]


def compile_for_windows(made: Path, source: Path, *flags: str) -> None:
    ziglang = pytest.importorskip("ziglang")
    zig = str(Path(ziglang.__file__).parent / "zig")
    target = ["-target", "x86_64-windows-gnu", "-s"]
    command = [zig, "cc", *target, *FLAGS, *flags, "-o", str(made), str(source)]
    subprocess.run(command, check=True, timeout=600, capture_output=True)


def compile_here(made: Path, source: Path) -> None:
    command = ["cc", "-fPIC", *FLAGS, "-o", str(made), str(source)]
    subprocess.run(command, check=True, timeout=600, capture_output=True)


def fill(folder: Path) -> None:
    """Plugins, and what is none, with the events that they get."""
    digest = HERE / "digest.c"
    compile_for_windows(folder / "digest.dll", digest)
    compile_for_windows(folder / "pinned.dll", digest, "-DSTAYS=1")
    compile_for_windows(folder / "keeps.dll", digest, "-DSTAYS=2")
    compile_for_windows(folder / "tally.dll", ROOT / "examples" / "tally" / "tally.c")
    compile_here(folder / "linux.dll", digest)
    whole = (folder / "digest.dll").read_bytes()
    machine = int.from_bytes(whole[0x3C:0x40], "little") + 4
    changed = {
        "cut.dll": whole[:3000],
        "text.dll": b"no library\n",
        "empty.dll": b"",
        "arm.dll": whole[:machine] + b"\x64\xaa" + whole[machine + 2 :],
        "none.dll": whole.replace(b"slipstream_create_plugin_v1", b"slipstream_create_plugin_w1"),
        "needy.dll": whole.replace(b"KERNEL32.dll", b"KERNEL99.dll"),
        "process.json5": b'{ libpath: "digest.dll", mode: "process" }',
        "plain.json5": b'{ libpath: "digest.dll" }',
        "stream.jsonl": STREAM.read_bytes(),
    }
    for name, data in changed.items():
        (folder / name).write_bytes(data)
    (folder / "open").mkdir()
    (folder / "open").chmod(0o777)
    (folder / "open" / "digest.dll").write_bytes(whole)


def convert(source: Path, made: Path) -> None:
    command = [sys.executable, "-m", "slipstream", "convert", str(source), str(made)]
    subprocess.run(command, check=True, timeout=600, capture_output=True)


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    """Not in the folder for temporary files: there anybody may do anything, for Windows."""
    above = ROOT / "build" / "windows"
    above.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="test-", dir=above) as name:
        made = Path(name)
        made.chmod(0o755)
        fill(made)
        convert(STREAM, made / "linux.capture")
        yield made


@pytest.fixture(scope="module")
def found(folder: Path) -> dict[str, Any]:
    """What came of each function of inside.py."""

    def there(path: Path) -> str:
        return "Z:" + str(path).replace("/", "\\")

    command = [sys.executable, str(ROOT / "tools" / "windows.py"), there(HERE / "inside.py")]
    done = subprocess.run(
        [*command, there(folder), str(CYCLES)],
        capture_output=True,
        text=True,
        timeout=850,
        check=False,
    )
    if done.returncode == MISSING:
        (pytest.fail if LONG else pytest.skip)(done.stderr.strip())
    results = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    assert done.returncode == 0, done.stderr
    failed = "\n".join(result["failed"] for result in results if "failed" in result)
    assert not failed, failed
    return {result["test"]: result["found"] for result in results}


def test_what_the_core_asks_for_works(found) -> None:
    works = found["what_the_core_asks_for_works"]
    assert len(works) == 7
    assert all(works.values()), works


def test_a_library_that_others_could_replace_is_refused(found) -> None:
    assert found["paths"]["own"] == "safe"
    assert "can be changed by Everyone, who could replace" in found["paths"]["open"]


def test_the_genesis_streams_as_on_linux(found, folder, caplog) -> None:
    compile_here(folder / "digest.so", HERE / "digest.c")
    caplog.set_level(logging.INFO, "slipstream")
    with PluginManager(log_level="info") as manager:
        manager.load_plugin({"libpath": str(folder / "digest.so"), "mode": "inline"})
        with EventFile(STREAM, on_warning=print) as file:
            for event in file:
                manager.broadcast(event)
    (here,) = (text for text in caplog.messages if text.startswith("digest "))
    streams = found["streams"]
    for mode in ("inline", "thread"):
        delivered, line = streams[f"digest {mode}"]
        assert delivered == 397
        assert line.startswith(here)
    assert streams["tally inline"] == streams["tally thread"]
    assert streams["tally inline"][0] == 397
    assert len(streams["tally inline"]) > 3


def test_nothing_is_left_of_what_was_unloaded(found) -> None:
    unmapped = found["unmapped"]
    assert unmapped["before"] == unmapped["after"]
    assert unmapped["stays"] == []


def test_what_stays_mapped_is_told(found) -> None:
    stays = found["stays"]
    assert any("pin it" in line for line in stays["pinned"]), stays
    assert any("threads of it" in line for line in stays["keeps"]), stays


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("text.dll", "is not a shared library"),
        ("empty.dll", "is an empty file"),
        ("linux.dll", "is a Linux library (ELF)\n  next: use the plugin's build for Windows"),
        ("cut.dll", "the file ends too early, or contradicts itself"),
        ("arm.dll", "is built for AArch64 (64 bit), this host is x86-64"),
        ("none.dll", "is a library, but does not export slipstream_create_plugin_v1"),
        ("needy.dll", "dumpbin /dependents"),
        ("process", 'mode "process" exists on Linux only'),
        ("process in a call", 'mode "process" exists on Linux only'),
    ],
)
def test_refusals(found, name, says) -> None:
    assert says in found["refusals"][name]


def test_files_of_one_system_are_those_of_the_other(found, folder, tmp_path) -> None:
    commands = found["commands"]
    assert commands["convert"] == 0
    assert commands["back"] == 0
    assert (folder / "kept.capture").read_bytes() == (folder / "linux.capture").read_bytes()
    convert(folder / "linux.capture", tmp_path / "back.jsonl")
    assert (folder / "back.jsonl").read_bytes() == (tmp_path / "back.jsonl").read_bytes()


def test_commands(found) -> None:
    commands = found["commands"]
    for name in ("show", "doctor", "inspect", "run"):
        assert commands[name][0] == 0, commands[name]
    assert "PE file for x86-64" in commands["inspect"][1]
    assert commands["run"][1].count("mode process exists on Linux only") == 1
